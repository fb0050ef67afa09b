"""Networks outside of torch's eager mode: OpenVINO as a backend, and exported files."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lungfield.bundles.weights import require_file
from lungfield.errors import BundleError, first_line

AUTO = "auto"
TORCH, OPENVINO, OPENVINO_INT8 = "torch", "openvino", "openvino-int8"
BACKENDS = (AUTO, TORCH, OPENVINO, OPENVINO_INT8)
"""The values of `Predictor(backend=)` and `lungfield segment --backend`; the last computes the largest
convolutions in 8-bit integers (`lungfield.bundles.quantization`)."""

EMBEDDED = ("metadata.json", "inference.json")
"""The JSON texts that `lungfield export` and MONAI's `ckpt_export` embed in an exported file."""

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


class OpenVINONetwork(nn.Module):
    """A network that OpenVINO runs on the CPU, with the call signature of the torch module.

    It computes in the precision of `torch.autocast` and in `torch.get_num_threads()` threads. It runs the
    images of a batch one by one, so that an image's logits do not depend on the rest of the batch. Several
    Python threads may call it at the same time.

    Args:
        model: an `openvino.Model` with one input and one output, (N, C, H, W) float32 each.

    Shapes:
        input (N, C, H, W); output (N, C_out, H, W) float32 logits, on the input's device.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self._compiled: dict[tuple[Any, ...], Any] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of `image`."""
        request = self._request(tuple(image.shape[1:]))
        arrays = image.detach().float().contiguous().cpu().numpy()
        logits = np.concatenate([request.infer([one[None]])[0] for one in arrays])
        return torch.from_numpy(logits).to(image.device)

    def _request(self, shape: tuple[int, ...]) -> Any:
        """This thread's inference request for single images of a shape (C, H, W)."""
        autocast = torch.is_autocast_enabled("cpu")
        hint = _HINTS[torch.get_autocast_dtype("cpu") if autocast else torch.float32]
        key = (shape, hint, torch.get_num_threads())
        requests: dict[Any, Any] = self._requests.__dict__
        if key not in requests:
            with self._compiling:
                if key not in self._compiled:
                    self._compiled[key] = self._compile(*key)
            requests[key] = self._compiled[key].create_infer_request()
        return requests[key]

    def _compile(self, shape: tuple[int, ...], hint: str, threads: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # the cores are shared with the processes that read and write
        }
        model = self._model.clone()
        model.reshape([1, *shape])
        return openvino().Core().compile_model(model, "CPU", settings)


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, run by ONNX Runtime on the CPU in float32.

    Args:
        path: the file; its one input and output are (N, C, H, W) float32.

    Attributes:
        shape: of the input; a free axis has a name instead of a number.
        embedded: the JSON texts in the file, by name.

    Shapes:
        input (N, C, H, W); output (N, C_out, H, W) float32 logits, on the input's device.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        onnxruntime = _library("onnxruntime", "ONNX Runtime", "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.shape: list[int | str] = self._session.get_inputs()[0].shape
        self.embedded: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of `image`."""
        array = image.detach().float().contiguous().cpu().numpy()
        (logits,) = self._session.run(None, {self._input: array})
        return torch.from_numpy(logits).to(image.device)


def load_exported(path: str | Path, *, image_size: Sequence[int] | None = None) -> nn.Module:
    """Load an exported network: TorchScript (.ts, .pt), ONNX (.onnx) or OpenVINO (.xml and .bin).

    A TorchScript file can run code: load only files that you trust.

    Args:
        path: the file.
        image_size: (rows, columns) of the images that it will get; None to accept a file for any size.

    Returns:
        A module with an input (N, C, H, W) float32 and an output (N, C_out, H, W) float32 logits.

    Raises:
        BundleError: the file is missing or damaged, has another suffix, or was exported for another image
            size; or its runtime is not installed.
    """
    path = Path(path)
    loaders: dict[str, Callable[[Path], tuple[nn.Module, Mapping[str, str]]]] = {
        ".ts": _load_torchscript,
        ".pt": _load_torchscript,
        ".onnx": _load_onnx,
        ".xml": _load_openvino,
    }
    load = loaders.get(path.suffix)
    if load is None:
        raise BundleError(
            f"{path} does not have the suffix of an exported network: give a .ts, .onnx or .xml file, "
            "as written by `lungfield export`."
        )
    require_file(path, what="The exported network", advice="Write it with `lungfield export`.")
    try:
        network, embedded = load(path)
        size = _size_of(network, embedded)
    except BundleError:
        raise
    except Exception as error:  # each library raises its own
        raise BundleError(f"{path} cannot be read as an exported network: {first_line(error)}") from error
    if image_size is not None and size is not None and size != list(image_size):
        made, given = (" x ".join(map(str, sides)) for sides in (size, image_size))
        raise BundleError(
            f"{path} was exported for images of {made} pixels, but this run's images have {given}. Give "
            f'--image_size "{size}", or export the bundle of that size.'
        )
    return network


def _size_of(network: nn.Module, embedded: Mapping[str, str]) -> list[int] | None:
    """The (rows, columns) of an exported file's input, from its axes or its embedded JSON; None if free."""
    if isinstance(network, OnnxNetwork):
        sides = [side for side in network.shape[2:] if isinstance(side, int)]
        if len(sides) == 2:
            return sides
    size = json.loads(embedded.get("inference.json") or "{}").get("image_size")
    if not isinstance(size, list):
        formats = json.loads(embedded.get("metadata.json") or "{}").get("network_data_format", {})
        size = formats.get("inputs", {}).get("image", {}).get("spatial_shape")
    return size if isinstance(size, list) else None


def to_openvino(network: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """Convert a network to an `openvino.Model` with free batch, height and width.

    The network is traced with an input of zeros, so a branch for small images (padding to the least side)
    is converted only if `input_shape` is that small.

    Args:
        network: on the CPU and in evaluation mode.
        input_shape: (N, C, H, W) of the traced input.

    Raises:
        BundleError: OpenVINO is not installed.
    """
    with quiet():
        model = openvino().convert_model(network, example_input=torch.zeros(input_shape))
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({"pred"})
    return model


def openvino() -> ModuleType:
    """The module `openvino`; `BundleError` where it is not installed."""
    # OpenVINO sends telemetry on import and conversion unless this package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return _library("openvino", "OpenVINO", "openvino")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' progress messages and deprecation warnings."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _library(module: str, name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BundleError(f"{name} is not installed: pip install 'lungfield[{extra}]'.") from error


def _load_torchscript(path: Path) -> tuple[nn.Module, Mapping[str, str]]:
    if importlib.util.find_spec("torch_tensorrt"):  # registers the engines in files of MONAI's trt_export
        importlib.import_module("torch_tensorrt")
    embedded: dict[str, Any] = dict.fromkeys(EMBEDDED, "")
    with quiet():
        network: nn.Module = torch.jit.load(str(path), map_location="cpu", _extra_files=embedded)
    return network.eval(), embedded


def _load_onnx(path: Path) -> tuple[nn.Module, Mapping[str, str]]:
    network = OnnxNetwork(path)
    return network, network.embedded


def _load_openvino(path: Path) -> tuple[nn.Module, Mapping[str, str]]:
    model = openvino().Core().read_model(path)
    embedded = {name: model.get_rt_info(name).astype(str) for name in EMBEDDED if model.has_rt_info(name)}
    return OpenVINONetwork(model), embedded
