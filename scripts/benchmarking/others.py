"""Other tools that find the lungs on chest radiographs, where they are installed; nothing is fetched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from skimage.transform import resize

from lungfield.radiograph import read_radiograph

NOT_INSTALLED = "not installed"
_WEIGHTS = "pspnet_chestxray_best_model_4.pth"
_SIDE = 512


@dataclass(frozen=True)
class OtherTool:
    """A tool that does the same job.

    Attributes:
        name: of the tool.
        images_per_s: from files to masks in memory; None where it was not timed.
        remark: what it did, or why not.
    """

    name: str
    images_per_s: float | None
    remark: str


def other_tools(files: Sequence[Path], *, device: str, threads: int) -> list[OtherTool]:
    """Time whatever there is, one radiograph after the other.

    Args:
        files: radiographs.
        device: 'cpu' or 'cuda'.
        threads: of torch, within the network.
    """
    return [_torchxrayvision(files, device=device, threads=threads)]


def _torchxrayvision(files: Sequence[Path], *, device: str, threads: int) -> OtherTool:
    """The PSPNet of TorchXRayVision, trained on ChestX-Det, at its own 512x512."""
    name = "TorchXRayVision PSPNet"
    try:
        import torchxrayvision
    except ImportError:
        return OtherTool(name, None, NOT_INSTALLED)
    weights = Path(torchxrayvision.utils.get_cache_dir()).expanduser() / _WEIGHTS
    if not weights.is_file():
        # Making the network would fetch them.
        return OtherTool(name, None, f"its weights, {weights.name}, are not there")
    network = torchxrayvision.baseline_models.chestx_det.PSPNet(cache_dir=str(weights.parent))
    network.to(device).eval()
    lungs = [network.targets.index(side) for side in ("Left Lung", "Right Lung")]

    def segment(file: Path) -> None:
        pixels = resize(read_radiograph(file).pixels, (_SIDE, _SIDE), anti_aliasing=True)
        image = torch.from_numpy(2048 * pixels - 1024).float()[None, None]  # the range that it asks for
        with torch.inference_mode():
            (network(image.to(device))[0, lungs] > 0).cpu()

    torch.set_num_threads(threads)
    segment(files[0])
    start = time.perf_counter()
    for file in files:
        segment(file)
    return OtherTool(name, len(files) / (time.perf_counter() - start), "nothing cleaned, nothing written")
