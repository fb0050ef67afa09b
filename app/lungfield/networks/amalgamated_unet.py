"""The amalgamated U-Net of Mishra et al.: MobileNetV2 and InceptionResNetV2 as one encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lungfield.networks.blocks import Convolution, initialise, pad_to_multiple
from lungfield.networks.encoders import Decoder, file_of, fit, timm_encoder
from lungfield.networks.inceptionresnetv2_unet import LEAST_SIDE


class AmalgamatedUNet(nn.Module):
    """One U-Net decoder on the stacked features of both encoders, with a meta learner as its head.

    The features of a scale are zero-padded to the same size and stacked. The meta learner has three dense
    layers of 32, 64 and 128 channels with batch normalisation, and dropout of 0.4 before the output; dense
    layers on a map are 1x1 convolutions. The paper could also mean two U-Nets with stacked outputs, but its
    text ('all stacked together', 'in the encoder block') suggests this reading.

    Args:
        pretrained: ImageNet weights for both encoders: True or False, or a folder with the files
            mobilenetv2 and inceptionresnetv2, each ending in .safetensors or .pth; see
            `lungfield.networks.encoders.timm_encoder`.
        dense: channels of the meta learner's layers.
        dropout: fraction of features dropped before the output in training.
        norm: of the decoder: None, 'batch' or 'instance'. The meta learner's is the paper's, batch. The other
            arguments, the shapes and the errors are those of `lungfield.networks.encoders.EncoderUNet`; sides
            under 96 are padded, too.
    """

    pretrained_parts = ("mobilenetv2", "inceptionresnetv2")

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        pretrained: bool | str | Path = True,
        widths: Sequence[int] = (256, 128, 64, 32, 16),
        dense: Sequence[int] = (32, 64, 128),
        dropout: float = 0.4,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.divisor = 32
        self.least_side = LEAST_SIDE
        files = [file_of(pretrained, encoder) for encoder in ("mobilenetv2", "inceptionresnetv2")]
        self.mobilenetv2 = timm_encoder("mobilenetv2_100", in_channels, files[0])
        self.inceptionresnetv2 = timm_encoder("inception_resnet_v2", in_channels, files[1])
        channels = [
            mobile + inception
            for mobile, inception in zip(
                self.mobilenetv2.feature_info.channels(),
                self.inceptionresnetv2.feature_info.channels(),
                strict=True,
            )
        ]
        self.decoder = Decoder(channels, widths, norm=norm)
        inputs = [widths[-1], *dense[:-1]]
        self.meta_learner = nn.Sequential(
            *(
                Convolution(before, after, kernel_size=1, norm="batch")
                for before, after in zip(inputs, dense, strict=True)
            ),
            nn.Dropout(dropout),
        )
        self.head = nn.Conv2d(dense[-1], out_channels, kernel_size=1)
        for part in (self.decoder, self.meta_learner, self.head):
            initialise(part)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N, out_channels, H, W) of `image` (N, in_channels, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, self.divisor, self.least_side)
        features: list[Tensor] = []
        for mobile, inception in zip(self.mobilenetv2(x), self.inceptionresnetv2(x), strict=True):
            features.append(torch.cat([mobile, fit(inception, mobile.shape[-2], mobile.shape[-1])], dim=1))
        return self.head(self.meta_learner(self.decoder(features)))[..., :height, :width]
