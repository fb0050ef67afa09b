"""The U-Net of Mishra et al. on the encoder of InceptionResNetV2."""

from torch import Tensor

from lungfield.networks.encoders import EncoderUNet, fit

#: The smallest side, a multiple of 32, at which all scales of InceptionResNetV2 have at least one pixel.
LEAST_SIDE = 96


class InceptionResNetV2UNet(EncoderUNet):
    """A U-Net decoder on InceptionResNetV2.

    The encoder's unpadded convolutions give odd sizes; zeros around the features bring each scale to its
    size ('zero padding was required in the encoder block'). Arguments, shapes and errors are those of
    `EncoderUNet`; sides under 96 are padded, too.
    """

    encoder_name = "inception_resnet_v2"
    encoder_least_side = LEAST_SIDE

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of (N, in_channels, H, W), each half the size of the one before."""
        rows, columns = x.shape[-2:]
        features: list[Tensor] = []
        for found in self.encoder(x):
            rows, columns = rows // 2, columns // 2
            features.append(fit(found, rows, columns))
        return features
