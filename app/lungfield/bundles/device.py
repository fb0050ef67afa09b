"""Which device and which backend run a network, and in which precision. Free of MONAI, so quick to import."""

from __future__ import annotations

import contextlib

import torch

from lungfield.bundles.backends import AUTO, BACKENDS, openvino
from lungfield.errors import BundleError


def find_device(name: str, backend: str = AUTO) -> torch.device:
    """The device of a name; 'auto' is CUDA where there is one.

    Args:
        name: 'auto', 'cpu', 'cuda', 'cuda:1', ...
        backend: what is to run the network there; OpenVINO does so on the CPU alone.

    Raises:
        BundleError: torch knows no such device, or it is not here, or the backend does not run on it.
    """
    if backend not in BACKENDS:
        raise BundleError(f"There is no backend {backend!r}: choose {', '.join(BACKENDS)}.")
    if backend == "openvino":
        openvino()  # reports at once where it is missing
        if name not in ("auto", "cpu"):
            raise BundleError(f"OpenVINO runs on the CPU here, not on {name!r}: give --device cpu or auto.")
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BundleError(f"The device {name!r} is not available here; use auto, cpu or cuda.") from error
    return device


def best_precision(device: torch.device) -> str:
    """'bfloat16' where `device` has instructions for it, else 'float32'.

    Emulated bfloat16 is several times slower than float32 (nine seconds against one for a training
    step of the U-Net on a CPU without AVX-512), so a CPU is asked, not tried.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    if device.type == "cpu":
        # These two are not public, so a version of torch without them counts as a CPU without.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
        return "bfloat16" if native else "float32"
    return "float32"


def current_device(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Make a CUDA device the current one of this thread; nothing for other devices.

    Pinned memory, autocast and some kernels belong to the current device, whatever device a tensor is on.
    """
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
