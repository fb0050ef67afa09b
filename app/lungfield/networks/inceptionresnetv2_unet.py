"""The U-Net of Mishra et al. on the encoder of InceptionResNetV2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from lungfield.networks.blocks import initialise, pad_to_multiple
from lungfield.networks.encoders import Decoder, fit, timm_encoder

#: The least side at which all scales of InceptionResNetV2 have a pixel left, in whole 32s.
LEAST_SIDE = 96


class InceptionResNetV2UNet(nn.Module):
    """A U-Net decoder on InceptionResNetV2.

    The encoder's unpadded convolutions give odd sizes; zeros around the features bring each scale to its
    size ('zero padding was required in the encoder block'). The decoder is that of `MobileNetV2UNet`.

    Args:
        in_channels: channels of the input; the encoder's first convolution is made for them.
        out_channels: channels of the logits; 1 for the lung field.
        pretrained: ImageNet weights for the encoder, see `lungfield.networks.encoders.timm_encoder`.
        widths: channels of the decoder's levels, from the deepest to the finest.
        norm: of the decoder: None, 'batch' or 'instance'.

    Shapes:
        input (N, in_channels, H, W) float, any H and W; output (N, out_channels, H, W), logits. A side
        that does not divide by 32, or is under 96, is padded inside and cropped back.

    Raises:
        BundleError: the pre-trained weights cannot be had.
    """

    pretrained_parts = ("encoder",)

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        pretrained: bool | str | Path = True,
        widths: Sequence[int] = (256, 128, 64, 32, 16),
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.divisor = 32
        self.least_side = LEAST_SIDE
        self.encoder = timm_encoder("inception_resnet_v2", in_channels, pretrained)
        self.decoder = Decoder(self.encoder.feature_info.channels(), widths, norm=norm)
        self.head = nn.Conv2d(widths[-1], out_channels, kernel_size=1)
        for part in (self.decoder, self.head):
            initialise(part)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N, out_channels, H, W) of `image` (N, in_channels, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, self.divisor, self.least_side)
        rows, columns = x.shape[-2:]
        features: list[Tensor] = []
        for found in self.encoder(x):
            rows, columns = rows // 2, columns // 2
            features.append(fit(found, rows, columns))
        return self.head(self.decoder(features))[..., :height, :width]
