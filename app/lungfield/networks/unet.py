"""The plain U-Net of Gurav and Emmatty, 'Chest X-Ray Segmentation using Deep Neural Network'."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lungfield.networks.blocks import DoubleConvolution, UNetBase


class UNet(UNetBase):
    """A contracting path of double convolutions, an expanding one, and skip connections between them.

    With the paper's features, one channel in and out and no normalisation it has exactly 7,759,521
    parameters, as the paper's table says.

    The paper does not specify the padding (here 'same', as its table of shapes implies) and the
    initialisation (here He's). `norm="batch"` is our addition: it trains faster, and the shipped weights use
    it.

    Args:
        norm: None (the paper's), 'batch' or 'instance'. The other arguments, and the shapes, are those of
            `lungfield.networks.blocks.UNetBase`.

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
        super().__init__(
            in_channels, out_channels, features=features, block=partial(DoubleConvolution, norm=norm)
        )
