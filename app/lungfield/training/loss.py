"""The training loss, for labels that may have unknown pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungfield.transforms import require_channels


class PartialDiceCELoss(nn.Module):
    """Dice and cross-entropy loss over the pixels with a known label.

    The Dice term is computed over the whole batch (`batch=True` of MONAI's `DiceCELoss`), so that an image
    with few known lung pixels does not dominate. One channel is the lung (sigmoid, binary cross-entropy).
    Several channels are exclusive classes (softmax), whose Dice terms are averaged, including the background.
    Several channels with their own unknown channels are overlapping structures (sigmoid): each has a loss
    over its known pixels, and the result is the mean over the structures with known pixels in the batch.

    Args:
        lambda_dice: weight of the Dice term.
        lambda_ce: weight of the cross-entropy.
        smooth: added to numerator and denominator of the Dice ratio.

    Shapes:
        input (N, C, H, W) logits; target (N, C, H, W), the fraction of each class in each pixel; or
        (N, C + 1, H, W) with the unknown fraction as last channel; or (N, 2 C, H, W) with the unknown
        fraction of each structure (`lungfield.transforms.ClassesAndUnknownd`). Returns a scalar.

    Raises:
        BundleError: the number of the network's channels does not match the target.
    """

    def __init__(self, lambda_dice: float = 1.0, lambda_ce: float = 1.0, smooth: float = 1e-5) -> None:
        super().__init__()
        self.lambda_dice = lambda_dice
        self.lambda_ce = lambda_ce
        self.smooth = smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        # As plain tensors: MONAI's subclass slows down each operation.
        logits, target = torch.Tensor.as_subclass(input, Tensor), torch.Tensor.as_subclass(target, Tensor)
        count = logits.shape[1]
        if target.shape[1] == 2 * count > 2:
            return self._of_structures(logits, *target.split(count, dim=1))
        if target.shape[1] not in (count, count + 1):
            require_channels(count, range(target.shape[1] - 1))
        share = target[:, :count]
        known = 1 - target[:, count:] if target.shape[1] > count else torch.ones_like(share[:, :1])
        known = known.clamp(0, 1)
        # The known part of a pixel that is half lung and half unknown is all lung.
        share = (share / known.clamp(min=1e-6)).clamp(0, 1)
        if count == 1:
            cross_entropy = functional.binary_cross_entropy_with_logits(
                logits, share, weight=known, reduction="sum"
            )
            probability = torch.sigmoid(logits)
        else:
            cross_entropy = -(share * torch.log_softmax(logits, dim=1) * known).sum()
            probability = torch.softmax(logits, dim=1)
        overlap = (probability * share * known).sum(dim=(0, 2, 3))
        areas = ((probability + share) * known).sum(dim=(0, 2, 3))
        dice = ((2 * overlap + self.smooth) / (areas + self.smooth)).mean()
        return self.lambda_dice * (1 - dice) + self.lambda_ce * cross_entropy / known.sum().clamp(min=1)

    def _of_structures(self, logits: Tensor, share: Tensor, unknown: Tensor) -> Tensor:
        """The mean loss of overlapping structures (N, C, H, W), each over its known pixels."""
        known = (1 - unknown).clamp(0, 1)
        share = (share / known.clamp(min=1e-6)).clamp(0, 1)
        losses = []
        for structure in range(logits.shape[1]):
            where = known[:, structure]
            if not where.any():
                continue
            logit, part = logits[:, structure], share[:, structure]
            cross_entropy = functional.binary_cross_entropy_with_logits(
                logit, part, weight=where, reduction="sum"
            )
            probability = torch.sigmoid(logit)
            overlap, areas = (probability * part * where).sum(), ((probability + part) * where).sum()
            dice = (2 * overlap + self.smooth) / (areas + self.smooth)
            losses.append(
                self.lambda_dice * (1 - dice) + self.lambda_ce * cross_entropy / where.sum().clamp(min=1)
            )
        # A product, so that there is a gradient (of 0) also if no pixel is known.
        return torch.stack(losses).mean() if losses else (logits * 0).sum()
