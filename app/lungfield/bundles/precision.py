"""Mixed precision that serves CUDA and CPU, training and inference alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor


class PrecisionInferer(Inferer):
    """Runs another inferer in the precision that the device is fast in, and returns float32.

    MONAI's engines know mixed precision on CUDA only. Put around a `SimpleInferer` or a
    `SlidingWindowInferer`, this class gives the same to a CPU with bfloat16 instructions, and to code
    without an engine. bfloat16 has the range of float32, so training needs no scaling of the loss.

    Args:
        inferer: runs the network.
        precision: 'auto' (bfloat16 where the device computes in it, else float32), 'float32',
            'bfloat16' or 'float16' (inference on CUDA only: gradients would vanish).

    Raises:
        ValueError: `precision` is none of these.
    """

    def __init__(self, inferer: Inferer, precision: str = "auto") -> None:
        super().__init__()
        if precision not in ("auto", "float32", "bfloat16", "float16"):
            raise ValueError(f"precision must be auto, float32, bfloat16 or float16, not {precision!r}")
        self.inferer = inferer
        self.precision = precision

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Return the float32 logits that `network` gives for `inputs`."""
        name = best_precision(inputs.device) if self.precision == "auto" else self.precision
        enabled = name != "float32"
        dtype = getattr(torch, name) if enabled else None
        with current_device(inputs.device), torch.autocast(inputs.device.type, dtype=dtype, enabled=enabled):
            logits = self.inferer(inputs, network, *args, **kwargs)
        return logits.float()


def current_device(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Make a CUDA device the current one of this thread; nothing for other devices.

    Pinned memory, autocast and some kernels belong to the current device, whatever device a tensor is on.
    """
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


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
