"""The three layers called GSConv in the literature, with a common interface.

Two of the papers use the name 'GSConv' for different layers; the third is the most common meaning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lungfield.networks.blocks import Convolution, normalisation
from lungfield.networks.neighbourhood import aggregate, attention


class GraphConvolution(nn.Module):
    """Graph Structure Convolution (Yang, 'Lung X-ray image segmentation ...', section 3.2).

    Every pixel is a node, with edges to its 3x3 neighbourhood. h = W * x is a 3x3 convolution, and A is the
    softmax over the neighbours of a learned similarity of the features x. The output is
    y_i = relu(norm(h_i + sum_j A_ij h_j)).

    The paper gives no formula. Here the similarity is a scaled dot product of two 1x1 projections of x to an
    eighth of the channels, at least four (our choice), so that most of the additional cost over a plain
    convolution is that of the nine maps of A.

    Shapes:
        x (N, in_channels, H, W) -> y (N, out_channels, H, W), any H and W.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=norm is None)
        similarity_channels = max(4, out_channels // 8)
        self.query = nn.Conv2d(in_channels, similarity_channels, kernel_size=1)
        # No bias for the keys: the softmax would cancel it.
        self.key = nn.Conv2d(in_channels, similarity_channels, kernel_size=1, bias=False)
        self.norm = normalisation(norm, out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return y of x."""
        h = self.convolution(x)
        h = aggregate(attention(self.query(x), self.key(x)), h, h)
        return self.activation(self.norm(h))


class GatedConvolution(nn.Module):
    """Gated Spatial Convolution (Xu et al., section 3.4; Yu et al. 2019, doi:10.1109/ICCV.2019.00457).

    y = relu(norm(conv(x))) * sigmoid(gate(x)). The gate is a depthwise 3x3 and a 1x1 convolution, the lighter
    form of Yi et al. 2020 (doi:10.1109/CVPR42600.2020.00753): a full one would double the work, and the paper
    gives no sizes.

    Shapes:
        x (N, in_channels, H, W) -> y (N, out_channels, H, W), any H and W.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        super().__init__()
        self.features = Convolution(in_channels, out_channels, norm=norm)
        self.gate = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return y of x."""
        return self.features(x) * torch.sigmoid(self.gate(x))


class ShuffleConvolution(nn.Module):
    """Ghost-shuffle convolution (Li et al. 2022, 'Slim-neck by GSConv', arXiv:2206.02424).

    A convolution to half the channels and a 5x5 depthwise convolution of its output are concatenated, and the
    channels are shuffled so that dense and depthwise ones alternate. Implemented from the paper's figure.

    Shapes:
        x (N, in_channels, H, W) -> y (N, out_channels, H, W), any H and W.

    Raises:
        ValueError: `out_channels` is odd.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        super().__init__()
        if out_channels % 2:
            raise ValueError(f"the shuffle kind needs an even number of channels, not {out_channels}")
        half = out_channels // 2
        self.dense = Convolution(in_channels, half, norm=norm)
        self.depthwise = Convolution(half, half, kernel_size=5, groups=half, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return y of x."""
        dense = self.dense(x)
        return torch.stack([dense, self.depthwise(dense)], dim=2).flatten(1, 2)


#: The kinds that `gsconv` builds.
KINDS = {"graph": GraphConvolution, "gated": GatedConvolution, "shuffle": ShuffleConvolution}


def gsconv(kind: str, in_channels: int, out_channels: int, *, norm: str | None = None) -> nn.Module:
    """Build a GSConv of one of `KINDS`; `ValueError` for another."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    return KINDS[kind](in_channels, out_channels, norm=norm)


class DoubleGSConv(nn.Sequential):
    """Two GSConv of a kind, where a U-Net has two convolutions: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, kind: str, norm: str | None = None) -> None:
        super().__init__(
            gsconv(kind, in_channels, out_channels, norm=norm),
            gsconv(kind, out_channels, out_channels, norm=norm),
        )
