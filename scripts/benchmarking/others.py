"""Another tool that segments the lungs on chest radiographs, where it is installed; nothing is downloaded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from skimage.transform import resize

from lungfield.radiograph import read_radiograph

NOT_INSTALLED = "not installed"
_WEIGHTS = "pspnet_chestxray_best_model_4.pth"
_SIDE = 512


def torchxrayvision_rate(files: Sequence[Path], *, device: str, threads: int) -> dict[str, Any]:
    """Time the PSPNet of TorchXRayVision, trained on ChestX-Det, at its own 512x512.

    Args:
        files: radiographs, segmented one after the other.
        device: 'cpu' or 'cuda'.
        threads: of torch, within the network.

    Returns:
        `name` of the tool; `images_per_s` from files to masks in memory, None if it was not timed; and
        `remark`, the work that was timed, or why it was not timed.
    """
    tool = {"name": "TorchXRayVision PSPNet", "images_per_s": None}
    try:
        import torchxrayvision
    except ImportError:
        return {**tool, "remark": NOT_INSTALLED}
    weights = Path(torchxrayvision.utils.get_cache_dir()).expanduser() / _WEIGHTS
    if not weights.is_file():
        # Making the network would fetch them.
        return {**tool, "remark": f"its weights, {weights.name}, are not there"}
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
    rate = len(files) / (time.perf_counter() - start)
    return {**tool, "images_per_s": rate, "remark": "nothing cleaned, nothing written"}
