"""The U-Net of Yang, 'Lung X-ray image segmentation based on improved Unet ... with GSConv module'."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lungfield.networks.blocks import UNetBase
from lungfield.networks.gsconv import DoubleGSConv


class GSConvUNet(UNetBase):
    """A U-Net whose convolutions in encoder and decoder are GSConv.

    The paper says no more of it (section 3.3), so depth and widths are those of `UNet`, and the difference
    between the two is the convolution alone.

    Args:
        in_channels: channels of the input; 1 for a radiograph.
        out_channels: channels of the logits; 1 for the lung field.
        kind: 'graph' (the paper's text), 'gated' or 'shuffle'; see `lungfield.networks.gsconv`.
        features: channels of each level, from the finest to the bottleneck; two or more.
        norm: None, 'batch' or 'instance'.

    Shapes:
        input (N, in_channels, H, W) float, any H and W; output (N, out_channels, H, W), logits. A side
        that does not divide by `divisor` (16 with five levels) is padded inside and cropped back.
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
