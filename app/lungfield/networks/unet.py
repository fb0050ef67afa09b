"""The plain U-Net of Gurav and Emmatty, 'Chest X-Ray Segmentation using Deep Neural Network'."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungfield.networks.blocks import DoubleConvolution, initialise, pad_to_multiple


class UNet(nn.Module):
    """A contracting path of double convolutions, an expanding one, and skip connections between them.

    Four 2x2 max-poolings lead to the bottleneck; on the way back each level is enlarged by a 2x2
    transposed convolution, joined with the features of the same size and convolved twice. A 1x1
    convolution makes the logits. With the paper's features, one channel in and out and no
    normalisation it has exactly 7,759,521 parameters, as the paper's table says.

    The paper is silent on the padding (here 'same', as its table of shapes implies), and on the
    initialisation (here He's). `norm="batch"` is our addition: it trains faster and is what the shipped
    weights use.

    Args:
        in_channels: channels of the input; 1 for a radiograph.
        out_channels: channels of the logits; 1 for the lung field.
        features: channels of each level, from the finest to the bottleneck; two or more.
        norm: None (the paper's), 'batch' or 'instance'.

    Shapes:
        input (N, in_channels, H, W) float, any H and W; output (N, out_channels, H, W), logits. A side
        that does not divide by `divisor` (16 with five levels) is padded inside and cropped back.

    Examples:
        >>> UNet()(torch.zeros(1, 1, 256, 256)).shape
        torch.Size([1, 1, 256, 256])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        features: Sequence[int] = (32, 64, 128, 256, 512),
        norm: str | None = None,
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ValueError(f"features needs two levels or more, not {tuple(features)}")
        self.divisor = 2 ** (len(features) - 1)

        inputs = [in_channels, *features[:-1]]
        self.encoder = nn.ModuleList(
            DoubleConvolution(before, after, norm=norm)
            for before, after in zip(inputs, features, strict=True)
        )
        pairs = [(features[level + 1], features[level]) for level in reversed(range(len(features) - 1))]
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(deeper, shallower, kernel_size=2, stride=2) for deeper, shallower in pairs
        )
        self.decoder = nn.ModuleList(
            DoubleConvolution(2 * shallower, shallower, norm=norm) for _, shallower in pairs
        )
        self.head = nn.Conv2d(features[0], out_channels, kernel_size=1)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N, out_channels, H, W) of `image` (N, in_channels, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, self.divisor)

        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if level > 0:
                x = functional.max_pool2d(x, kernel_size=2)
            x = block(x)
            skips.append(x)
        skips.pop()

        for enlarge, block in zip(self.upsampling, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), enlarge(x)], dim=1))
        return self.head(x)[..., :height, :width]
