"""Export a bundle's network to a file for other programs, and check that file against the network."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lungfield.bundles.backends import load_exported, openvino, quiet, to_openvino
from lungfield.bundles.predictor import (
    Processing,
    input_shape,
    load_network,
    plain,
    require_weights,
    sample_radiographs,
)
from lungfield.bundles.registry import Bundle
from lungfield.errors import BundleError, LungfieldError, OutputError, first_line
from lungfield.mask import agreement

#: The formats, and the suffix of their files.
FORMATS = {"torchscript": ".ts", "onnx": ".onnx", "openvino": ".xml"}

#: The largest difference of a logit that is accepted, relative to the largest absolute logit.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Export:
    """An exported network, and its agreement with the bundle's network.

    Both ran in float32 on the radiographs of `sample_data`.

    Attributes:
        path: the file; OpenVINO's weights are in a .bin file beside it.
        size_bytes: of all its files.
        radiographs: number of radiographs that were compared.
        largest_logit: largest absolute logit of the bundle's network.
        max_difference: largest absolute difference of a logit.
        least_dice: lowest Dice of the lungs between the two label maps of a radiograph.
    """

    path: Path
    format: str
    size_bytes: int
    radiographs: int
    largest_logit: float
    max_difference: float
    least_dice: float


def export_network(
    bundle: Bundle,
    path: str | Path,
    format: str,
    *,
    any_size: bool = False,
) -> Export:
    """Export a bundle's network with its weights, metadata and inference config.

    The file appears under its name only after its logits on the sample radiographs agree with the network's.

    Args:
        bundle: a bundle with weights. Its config can run code: export only bundles that you trust.
        path: the file to write; an existing file is replaced.
        format: 'torchscript' (.ts), 'onnx' (.onnx) or 'openvino' (.xml, with a .bin beside it).
        any_size: make height and width free in ONNX, where otherwise only the batch is free; the export then
            takes about twice as long. In the other formats they are always free.

    Raises:
        BundleError: the format is unknown, the bundle has no weights, a package for the format is not
            installed, or the exporter fails on the network.
        OutputError: the path has another suffix, the file cannot be written, or its logits differ.
    """
    path = Path(path)
    if format not in FORMATS:
        raise BundleError(f"Unknown export format {format!r}: choose {', '.join(FORMATS)}.")
    if path.suffix != FORMATS[format]:
        raise OutputError(f"{path}: a file of the format {format} ends in {FORMATS[format]}.")
    require_weights(bundle)
    writers: dict[str, Callable[[Bundle, Path], None]] = {
        "torchscript": _write_torchscript,
        "onnx": partial(_write_onnx, any_size=any_size),
        "openvino": _write_openvino,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            part = Path(folder, path.name)
            _write(writers[format], bundle, part)
            # The .bin is moved before the .xml that refers to it.
            written = sorted(Path(folder).iterdir(), key=lambda file: file == part)
            size_bytes = sum(file.stat().st_size for file in written)
            compared = _compare(bundle, load_exported(part))
            for file in written:
                file.replace(path.with_name(file.name))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or type(error).__name__}.") from error
    return Export(path, format, size_bytes, **compared)


def _write(write: Callable[[Bundle, Path], None], bundle: Bundle, path: Path) -> None:
    """Write the file; any error of an exporter becomes a `BundleError`."""
    try:
        write(bundle, path)
    except (LungfieldError, OSError):
        raise
    except Exception as error:  # each library raises its own
        raise BundleError(
            f"The network of the bundle {bundle.name!r} cannot be exported to {path.name}: "
            f"{first_line(error)}. Try another format, and ONNX without --any-size."
        ) from error


def _compare(bundle: Bundle, exported: nn.Module) -> dict[str, Any]:
    """Run the network and its export on the samples in float32; raise `OutputError` if they do not agree."""
    network, processing = load_network(bundle), Processing(bundle)
    largest, differences, dice = [], [], []
    for radiograph in sample_radiographs():
        prepared = processing.prepare(radiograph)
        image = plain(prepared["image"][None])
        with torch.inference_mode():
            expected, made = network(image), exported(image)
        largest.append(float(expected.abs().max()))
        differences.append(float((made - expected).abs().max()))
        maps = [processing.finish(prepared, logits[0], radiograph).label_map for logits in (made, expected)]
        dice.append(agreement(*maps, spacing=None).dice)
    if not max(differences) <= TOLERANCE * max(1, *largest):
        raise OutputError(
            f"The exported network does not agree with the bundle {bundle.name!r}: a logit differs by "
            f"{max(differences):.3g}. The file was not kept; try another format."
        )
    return {
        "radiographs": len(dice),
        "largest_logit": max(largest),
        "max_difference": max(differences),
        "least_dice": min(dice),
    }


def _write_torchscript(bundle: Bundle, path: Path) -> None:
    from monai.bundle import ckpt_export

    with quiet():
        ckpt_export(
            net_id="network_def",
            filepath=str(path),
            ckpt_file=str(bundle.weights),
            meta_file=str(bundle.root / "configs" / "metadata.json"),
            config_file=str(bundle.inference_config),
        )


def _write_onnx(bundle: Bundle, path: Path, *, any_size: bool) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BundleError("The export to ONNX needs packages: pip install 'lungfield[onnx]'.") from error
    from monai.networks.utils import convert_to_onnx

    _, *image_shape = input_shape(bundle)
    with quiet():
        model = convert_to_onnx(
            load_network(bundle),
            [torch.zeros(2, *image_shape)],  # with one image, the exporter would make the batch size fixed
            input_names=["image"],
            output_names=["pred"],
            dynamo=True,
            dynamic_shapes=(dict.fromkeys((0, 2, 3) if any_size else (0,), torch.export.Dim.DYNAMIC),),
            external_data=False,
            verbose=False,
        )
    _name_axes(model)
    onnx.helper.set_model_props(model, _embedded(bundle))
    onnx.save(model, path)


def _name_axes(model: Any) -> None:
    """Rename the free axes of an ONNX file, which the exporter numbers, to 'batch', 'height' and 'width'."""
    graph = model.graph
    axes = zip(graph.input[0].type.tensor_type.shape.dim, ("batch", "", "height", "width"), strict=True)
    names = {axis.dim_param: name for axis, name in axes if axis.dim_param}
    for value in (*graph.input, *graph.value_info, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in names:
                axis.dim_param = names[axis.dim_param]


def _write_openvino(bundle: Bundle, path: Path) -> None:
    model = to_openvino(load_network(bundle), input_shape(bundle))
    for name, text in _embedded(bundle).items():
        model.set_rt_info(text, name)
    openvino().save_model(model, path, compress_to_fp16=False)


def _embedded(bundle: Bundle) -> dict[str, str]:
    """The metadata and the inference config as JSON, as MONAI's `ckpt_export` embeds them in TorchScript."""
    from monai.bundle import ConfigParser

    config = ConfigParser.load_config_file(str(bundle.inference_config))
    return {"metadata.json": json.dumps(bundle.metadata), "inference.json": json.dumps(config)}
