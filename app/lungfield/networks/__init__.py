"""The networks, one architecture per file: (N, 1, H, W) radiographs in, logits of the same size out."""

from lungfield.networks.ag_minaspp_gsconv_unet import AGMinASPPGSConvUNet
from lungfield.networks.amalgamated_unet import AmalgamatedUNet
from lungfield.networks.efficientnet_lite0_unet import EfficientNetLite0UNet
from lungfield.networks.gsconv_unet import GSConvUNet
from lungfield.networks.inceptionresnetv2_unet import InceptionResNetV2UNet
from lungfield.networks.mobilenetv2_unet import MobileNetV2UNet
from lungfield.networks.resnet101_unet import ResNet101UNet
from lungfield.networks.unet import UNet

__all__ = [
    "AGMinASPPGSConvUNet",
    "AmalgamatedUNet",
    "EfficientNetLite0UNet",
    "GSConvUNet",
    "InceptionResNetV2UNet",
    "MobileNetV2UNet",
    "ResNet101UNet",
    "UNet",
]
