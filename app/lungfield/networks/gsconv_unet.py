"""The U-Net of Yang, 'Lung X-ray image segmentation based on improved Unet ... with GSConv module'."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lungfield.networks.blocks import UNetBase
from lungfield.networks.gsconv import DoubleGSConv


class GSConvUNet(UNetBase):
    """A U-Net whose convolutions in encoder and decoder are GSConv.

    The paper gives no further details (section 3.3), so depth and widths are those of `UNet`, and the two
    differ only in the convolution.

    Args:
        kind: 'graph' (the paper's text), 'gated' or 'shuffle'; see `lungfield.networks.gsconv`.
        norm: None, 'batch' or 'instance'. The other arguments, and the shapes, are those of
            `lungfield.networks.blocks.UNetBase`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        kind: str = "graph",
        features: Sequence[int] = (32, 64, 128, 256, 512),
        norm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, features=features, block=partial(DoubleGSConv, kind=kind, norm=norm)
        )
