"""Encoders from timm, with ImageNet weights where the user wants them, and the decoder of U-Nets on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungfield.errors import BundleError
from lungfield.networks.blocks import DoubleConvolution


def timm_encoder(name: str, in_channels: int, pretrained: bool | str | Path) -> nn.Module:
    """Build an encoder that returns its features at five scales, from half the input's size to a 32nd.

    Args:
        name: a model of timm that has `features_only`.
        in_channels: channels of the input; weights for three are summed or repeated to fit.
        pretrained: True for timm's ImageNet weights, which are fetched from its hub the first time; the
            path of such a file (safetensors or a state dict) that lies here; False for random ones.

    Raises:
        BundleError: the weights cannot be had; says how to go on.
    """
    import timm  # takes as long to import as torch does; the networks without it do not wait for it

    options: dict[str, Any] = {}
    if isinstance(pretrained, (str, Path)):
        path = Path(pretrained)
        if not path.is_file():
            raise BundleError(
                f"The encoder's weights are missing: {path}. Give --pretrained the path of a file of {name} "
                "from timm, or false to start from random weights."
            )
        options = {"pretrained_cfg_overlay": {"file": str(path)}}
    try:
        return timm.create_model(
            name, pretrained=bool(pretrained), features_only=True, in_chans=in_channels, **options
        )
    except Exception as error:
        if not pretrained:
            raise
        raise BundleError(
            f"The ImageNet weights of {name} cannot be loaded ({type(error).__name__}). They come from "
            "huggingface.co the first time. Go on without them by --pretrained false, or give the path of a "
            "file that you have fetched elsewhere: --pretrained FILE."
        ) from error


def fit(features: Tensor, height: int, width: int) -> Tensor:
    """Bring (N, C, h, w) to (N, C, height, width) by zeros around it, or by cutting its bottom and right.

    Unpadded convolutions, as in InceptionResNetV2, give maps a few pixels smaller than the scale's own.
    The zeros go to both sides, since what such convolutions lose they lose on both.
    """
    missing_y, missing_x = height - features.shape[-2], width - features.shape[-1]
    if missing_y == 0 and missing_x == 0:
        return features
    top, left = max(missing_y, 0) // 2, max(missing_x, 0) // 2
    padding = [left, max(missing_x, 0) - left, top, max(missing_y, 0) - top]
    return functional.pad(features, padding)[..., :height, :width]


class Decoder(nn.Module):
    """Enlarges the deepest features level by level, joining those of the encoder on the way.

    Args:
        encoder_channels: channels of the features, from the finest scale to the deepest.
        widths: channels of the decoder's levels, from the deepest to the finest. With one level more than
            there are finer features, the last has none to join and reaches the input's size.
        norm: None, 'batch' or 'instance'.
    """

    def __init__(self, encoder_channels: Sequence[int], widths: Sequence[int], *, norm: str | None) -> None:
        super().__init__()
        *finer, deepest = encoder_channels
        joined = [*reversed(finer), 0][: len(widths)]
        inputs = [deepest, *widths[:-1]]
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(before, width, kernel_size=2, stride=2)
            for before, width in zip(inputs, widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            DoubleConvolution(width + skip, width, norm=norm)
            for width, skip in zip(widths, joined, strict=True)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the features of the last level.

        Args:
            features: (N, C, H, W) each, every one half the size of the one before.
        """
        left = len(features) - 1
        x = features[left]
        for enlarge, block in zip(self.upsampling, self.blocks, strict=True):
            x = enlarge(x)
            left -= 1
            x = block(torch.cat([x, features[left]], dim=1) if left >= 0 else x)
        return x
