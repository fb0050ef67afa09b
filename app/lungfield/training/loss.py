"""The loss of training with labels that are unknown in places."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PartialDiceCELoss(nn.Module):
    """Dice and binary cross-entropy over the pixels whose label is known.

    The Dice term is taken over the batch as a whole (`batch=True` of MONAI's `DiceCELoss`), so that a picture
    with little known lung does not outweigh the others.

    Args:
        lambda_dice: weight of the Dice term; `lambda_ce` is that of the cross-entropy.
        smooth: added to both sides of the Dice ratio.

    Shapes:
        input (N, 1, H, W) logits; target (N, 1, H, W), the share of lung in each pixel, or (N, 2, H, W) with
        the share that is unknown behind it (`lungfield.transforms.LungAndUnknownd`).
    """

    def __init__(self, lambda_dice: float = 1.0, lambda_ce: float = 1.0, smooth: float = 1e-5) -> None:
        super().__init__()
        self.lambda_dice = lambda_dice
        self.lambda_ce = lambda_ce
        self.smooth = smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        # MONAI's subclass of a tensor costs a dispatch at each operation.
        logits, target = torch.Tensor.as_subclass(input, Tensor), torch.Tensor.as_subclass(target, Tensor)
        lung = target[:, :1]
        known = 1 - target[:, 1:] if target.shape[1] > 1 else torch.ones_like(lung)
        known = known.clamp(0, 1)
        # Of a pixel that is half lung and half unknown, all that is known is lung.
        lung = (lung / known.clamp(min=1e-6)).clamp(0, 1)
        cross_entropy = functional.binary_cross_entropy_with_logits(
            logits, lung, weight=known, reduction="sum"
        )
        probability = torch.sigmoid(logits)
        overlap = (probability * lung * known).sum()
        areas = ((probability + lung) * known).sum()
        dice = (2 * overlap + self.smooth) / (areas + self.smooth)
        return self.lambda_dice * (1 - dice) + self.lambda_ce * cross_entropy / known.sum().clamp(min=1)
