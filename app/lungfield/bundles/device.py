"""The device, backend and precision of a network. Does not import MONAI, so it imports quickly."""

from __future__ import annotations

import contextlib

import torch

from lungfield.bundles.backends import AUTO, BACKENDS, TORCH, openvino
from lungfield.errors import BundleError


def find_device(name: str, backend: str = AUTO) -> torch.device:
    """The torch device of a name; 'auto' is CUDA if available, else the CPU.

    Args:
        name: 'auto', 'cpu', 'cuda', 'cuda:1', ...
        backend: one of `BACKENDS`; OpenVINO runs on the CPU only.

    Raises:
        BundleError: the device does not exist or is not available, the backend is unknown or not installed,
            or it does not run on the device.
    """
    if backend not in BACKENDS:
        raise BundleError(f"There is no backend {backend!r}: choose {', '.join(BACKENDS)}.")
    if backend not in (AUTO, TORCH):
        openvino()  # raises at once if it is not installed
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
    """'bfloat16' if `device` has instructions for it, else 'float32'.

    Emulated bfloat16 is several times slower than float32: nine seconds instead of one for a training step of
    the U-Net on a CPU without AVX-512.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    if device.type == "cpu":
        # These two functions are not public; if a version of torch lacks them, use float32.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
        return "bfloat16" if native else "float32"
    return "float32"


def current_device(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context that makes a CUDA device the current one of this thread; does nothing for other devices.

    Pinned memory, autocast and some kernels use the current device, not the device of their tensors.
    """
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
