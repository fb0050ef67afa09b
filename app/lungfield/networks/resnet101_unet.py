"""The U-Net of Swaminathan on the encoder of ResNet-101."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from lungfield.networks.blocks import DoubleConvolution, initialise, pad_to_multiple
from lungfield.networks.encoders import Decoder, timm_encoder


class ResNet101UNet(nn.Module):
    """ResNet-101 without its classifier, a middle of two convolutions, a decoder of three up-convolutions.

    The decoder ends at 1/4 of the input's size, where a 1x1 convolution gives the logits, which are enlarged
    bilinearly (the paper's section 3.1). The paper gives neither widths nor the skip connections; here they
    are at 1/4, 1/8 and 1/16, and each up-convolution is followed by two convolutions and ReLU.

    Args:
        widths: channels of the middle and of the three levels of the decoder.
        norm: of middle and decoder: None (the paper's), 'batch' or 'instance'. The other arguments, the
            shapes and the errors are those of `lungfield.networks.encoders.EncoderUNet`.
    """

    pretrained_parts = ("encoder",)

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        pretrained: bool | str | Path = True,
        widths: Sequence[int] = (512, 256, 128, 64),
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.divisor = 32
        middle, *up = widths
        self.encoder = timm_encoder("resnet101", in_channels, pretrained)
        *finer, deepest = self.encoder.feature_info.channels()[1:]
        self.middle = DoubleConvolution(deepest, middle, norm=norm)
        self.decoder = Decoder([*finer, middle], up, norm=norm)
        self.head = nn.Conv2d(up[-1], out_channels, kernel_size=1)
        for part in (self.middle, self.decoder, self.head):
            initialise(part)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N, out_channels, H, W) of `image` (N, in_channels, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, self.divisor)
        features = self.encoder(x)[1:]
        features[-1] = self.middle(features[-1])
        logits = self.head(self.decoder(features))
        logits = functional.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
