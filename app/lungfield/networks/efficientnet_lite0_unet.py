"""The default network: a narrow U-Net decoder on the encoder of EfficientNet-Lite0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungfield.networks.blocks import Convolution, SeparableConvolution, initialise, pad_to_multiple
from lungfield.networks.encoders import timm_encoder

#: From this many channels on, the decoder's convolutions are depthwise-separable.
_WIDE = 64


class EfficientNetLite0UNet(nn.Module):
    """A U-Net on EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946, in its form for CPUs).

    It is from no paper on lungs, and the default of lungfield. The encoder has neither squeeze-and-excitation
    nor swish. The decoder enlarges by interpolation and is narrow: two convolutions per level,
    depthwise-separable from 64 channels. It ends at half the input's size, and the logits are enlarged
    bilinearly to the input's size. It has about 3.1 million parameters.

    Structures besides the lungs have their own decoder on the same encoder, which can be trained without a
    change of the lungs' logits: with `further_channels`, the logits are those of `out_channels`, followed by
    those of the second decoder. As the encoder's features are those of the lungs, the second decoder starts
    with convolutions of the two deepest ones: where the diaphragm hides the border of the heart, it follows
    from the whole chest.

    Args:
        widths: channels of the decoder's four levels, from the deepest to the finest. The other arguments,
            the shapes and the errors are those of `lungfield.networks.encoders.EncoderUNet`; the input is
            in [0, 1].
        further_channels: output channels of a second decoder, in addition to `out_channels`; 0 for none.
        further_widths: as `widths`, for the second decoder.

    Raises:
        ValueError: `widths` or `further_widths` has not four levels.
    """

    pretrained_parts = ("encoder",)

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        pretrained: bool | str | Path = True,
        widths: Sequence[int] = (128, 64, 48, 32),
        norm: str | None = "batch",
        further_channels: int = 0,
        further_widths: Sequence[int] = (64, 48, 32, 24),
    ) -> None:
        super().__init__()
        self.divisor = 32
        self.encoder = timm_encoder("efficientnet_lite0", in_channels, pretrained)
        channels = self.encoder.feature_info.channels()
        self.decoder = _Decoder(channels, widths, norm)
        self.head = nn.Conv2d(widths[-1], out_channels, kernel_size=1)
        for part in (self.decoder, self.head):
            initialise(part)
        self.further: nn.ModuleDict | None = None
        if further_channels:
            head = nn.Conv2d(further_widths[-1], further_channels, kernel_size=1)
            context = nn.ModuleList(_Context(each, norm) for each in channels[-2:])
            decoder = _Decoder(channels, further_widths, norm)
            self.further = nn.ModuleDict({"context": context, "decoder": decoder, "head": head})
            initialise(self.further)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N, out_channels, H, W) of `image` (N, in_channels, H, W)."""
        height, width = image.shape[-2:]
        # The input range of the packaged encoder weights' training, and close to that of timm's.
        features: list[Tensor] = self.encoder(pad_to_multiple(image, self.divisor) * 2 - 1)
        logits = _doubled(self.head(self.decoder(features)))
        if self.further is not None:
            context = self.further["context"]
            deepest = [context[0](features[-2]), context[1](features[-1])]
            further = self.further["head"](self.further["decoder"](features[:-2] + deepest))
            logits = torch.cat([logits, _doubled(further)], dim=1)
        return logits[..., :height, :width]


class _Context(nn.Sequential):
    """Two separable convolutions whose result is added to their input: (N, C, H, W) -> (N, C, H, W).

    The last one has no ReLU, and starts at zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1), so that a
    trained decoder can be given a context.
    """

    def __init__(self, channels: int, norm: str | None) -> None:
        last = SeparableConvolution(channels, channels, norm=norm)
        del last[-1][-1]
        if norm is not None:
            nn.init.zeros_(last[-1][-1].weight)
        super().__init__(SeparableConvolution(channels, channels, norm=norm), last)

    def forward(self, features: Tensor) -> Tensor:
        """Return the sum."""
        added = features
        for convolution in self:
            added = convolution(added)
        return features + added


class _Decoder(nn.ModuleList):
    """Levels, each of which enlarges the features of the deeper one and concatenates the encoder's features.

    Args:
        channels: of the encoder's features, from the finest to the deepest.
        widths: channels of the levels, from the deepest to the finest.
        norm: as of the network.

    Raises:
        ValueError: there are not as many widths as levels.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], norm: str | None) -> None:
        *skips, deepest = channels
        if len(widths) != len(skips):
            raise ValueError(f"widths needs {len(skips)} levels, not {tuple(widths)}")
        super().__init__(
            _level(before + skip, width, norm)
            for before, skip, width in zip([deepest, *widths[:-1]], reversed(skips), widths, strict=True)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the finest level's output for the features of the encoder."""
        left = len(features) - 1
        x = features[left]
        for level in self:
            left -= 1
            x = level(torch.cat([_doubled(x), features[left]], dim=1))
        return x


def _level(in_channels: int, out_channels: int, norm: str | None) -> nn.Sequential:
    block = SeparableConvolution if out_channels >= _WIDE else Convolution
    return nn.Sequential(
        block(in_channels, out_channels, norm=norm), block(out_channels, out_channels, norm=norm)
    )


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
