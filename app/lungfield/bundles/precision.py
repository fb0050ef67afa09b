"""Mixed precision on CUDA and CPU, for training and inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from lungfield.bundles.device import best_precision, current_device


class PrecisionInferer(Inferer):
    """Runs another inferer in the device's fast precision, and returns float32.

    MONAI's engines support mixed precision on CUDA only. This class wraps a `SimpleInferer` or a
    `SlidingWindowInferer`, and adds CPUs with bfloat16 instructions and code without an engine. bfloat16 has
    the exponent range of float32, so training needs no scaling of the loss.

    Args:
        inferer: runs the network.
        precision: 'auto' (bfloat16 if the device has instructions for it, else float32), 'float32',
            'bfloat16', or 'float16' (for inference on CUDA only: in training, gradients would underflow).

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
