"""The U-Net of Mishra et al. on the encoder of MobileNetV2."""

from lungfield.networks.encoders import EncoderUNet


class MobileNetV2UNet(EncoderUNet):
    """A U-Net decoder on MobileNetV2: small, and quick on a CPU.

    The paper gives no widths. The decoder has five levels, four of which concatenate features of the encoder;
    the fifth reaches the input's size. Arguments, shapes and errors are those of `EncoderUNet`.
    """

    encoder_name = "mobilenetv2_100"
