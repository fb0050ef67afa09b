"""Pieces that several networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def normalisation(norm: str | None, channels: int) -> nn.Module:
    """Build the layer that follows a convolution.

    Args:
        norm: 'batch', 'instance' or None for no normalisation.
        channels: number of feature maps to normalise.

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


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions, each with normalisation and ReLU: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            # A bias in front of a normalisation would be cancelled by it.
            layers += [
                nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=norm is None),
                normalisation(norm, out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


def pad_to_multiple(image: Tensor, divisor: int) -> Tensor:
    """Pad the bottom and right of (N, C, H, W) by its edge values until both sides divide by `divisor`."""
    height, width = image.shape[-2:]
    bottom = (divisor - height % divisor) % divisor
    right = (divisor - width % divisor) % divisor
    return functional.pad(image, [0, right, 0, bottom], mode="replicate")


def initialise(module: nn.Module) -> None:
    """He initialisation for networks of convolutions and ReLU (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
