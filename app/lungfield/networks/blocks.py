"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def normalisation(norm: str | None, channels: int) -> nn.Module:
    """The normalisation layer after a convolution: 'batch', 'instance', or identity for None.

    Raises:
        ValueError: `norm` is none of these.
    """
    if norm is None:
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    raise ValueError(f"norm must be 'batch', 'instance' or None, not {norm!r}")


class Convolution(nn.Sequential):
    """A convolution that keeps the size, normalisation and ReLU: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        groups: int = 1,
        norm: str | None = None,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                groups=groups,
                bias=norm is None,  # a normalisation would cancel it
            ),
            normalisation(norm, out_channels),
            nn.ReLU(inplace=True),
        )


class SeparableConvolution(nn.Sequential):
    """A 3x3 depthwise and a 1x1 convolution in place of a 3x3 one: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1, groups=in_channels, bias=False),
            Convolution(in_channels, out_channels, kernel_size=1, norm=norm),
        )


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions, each with normalisation and ReLU: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += Convolution(channels, out_channels, norm=norm)
        super().__init__(*layers)


class Ungated(nn.Module):
    """A skip connection that passes its features unchanged."""

    def forward(self, skip: Tensor, guide: Tensor) -> Tensor:  # noqa: ARG002
        """Return `skip`."""
        return skip


class UNetBase(nn.Module):
    """The structure of a U-Net, for any kind of block, bottleneck and skip connection.

    The encoder reduces by max-pooling. In the decoder, each level is enlarged by a 2x2 transposed
    convolution, concatenated with the features of the same size and passed to a block. A 1x1 convolution
    gives the logits.

    Args:
        in_channels: channels of the input; 1 for a radiograph.
        out_channels: channels of the logits; 1 for the lung field.
        features: channels of each level, from the finest to the bottleneck; two or more.
        block: creates the module of a level from its input and output channels.
        bottleneck: the same for the deepest level; None for `block`.
        gate: creates the module of a skip connection from its channels; the module is called with the
            features of the encoder and the enlarged ones of the decoder, both (N, C, H, W), and returns the
            features to concatenate.

    Shapes:
        input (N, in_channels, H, W) float, any H and W; output (N, out_channels, H, W), logits. A side
        that does not divide by `divisor` (16 with five levels) is padded inside and cropped back.

    Raises:
        ValueError: `features` has fewer than two levels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        features: Sequence[int],
        block: Callable[[int, int], nn.Module],
        bottleneck: Callable[[int, int], nn.Module] | None = None,
        gate: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ValueError(f"features needs two levels or more, not {tuple(features)}")
        self.divisor = 2 ** (len(features) - 1)

        inputs = [in_channels, *features[:-2]]
        self.encoder = nn.ModuleList(
            block(before, after) for before, after in zip(inputs, features[:-1], strict=True)
        )
        self.encoder.append((bottleneck or block)(features[-2], features[-1]))
        pairs = [(features[level + 1], features[level]) for level in reversed(range(len(features) - 1))]
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(deeper, shallower, kernel_size=2, stride=2) for deeper, shallower in pairs
        )
        self.gates = nn.ModuleList(gate(shallower) if gate else Ungated() for _, shallower in pairs)
        self.decoder = nn.ModuleList(block(2 * shallower, shallower) for _, shallower in pairs)
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

        for enlarge, gate, block in zip(self.upsampling, self.gates, self.decoder, strict=True):
            x = enlarge(x)
            x = block(torch.cat([gate(skips.pop(), x), x], dim=1))
        return self.head(x)[..., :height, :width]


def pad_to_multiple(image: Tensor, divisor: int, least: int = 0) -> Tensor:
    """Pad the bottom and right of (N, C, H, W) with its edge values to multiples of `divisor`.

    `least` is the smallest side that the network accepts, a multiple of `divisor`.
    """
    height, width = image.shape[-2:]
    bottom = max(least - height, (divisor - height % divisor) % divisor)
    right = max(least - width, (divisor - width % divisor) % divisor)
    return functional.pad(image, [0, right, 0, bottom], mode="replicate")


def initialise(module: nn.Module) -> None:
    """He initialisation for networks of convolutions and ReLU (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
