"""The U-Net of Xu et al. with attention on graphs, a small atrous pyramid and gated convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lungfield.networks.blocks import Convolution, UNetBase, normalisation
from lungfield.networks.gsconv import DoubleGSConv
from lungfield.networks.neighbourhood import aggregate, attention


class GraphAttentionGate(nn.Module):
    """AG, adaptive gated attention on graphs, for a skip connection (the paper's section 3.2).

    Pixels are nodes. The query is the mean of a node and its neighbours, combined with the decoder's signal;
    it gives the attention weights of the neighbours. The neighbours' features are summed with these weights,
    and a sigmoid of the sum gates the features of the skip connection, as in Attention U-Net (Oktay et al.
    2018, arXiv:1804.03999). The attention uses a quarter of the channels, at least four (our choice).

    Shapes:
        skip (N, channels, H, W), guide (N, channels, H, W) -> (N, channels, H, W).
    """

    def __init__(self, channels: int, *, norm: str | None = None) -> None:
        super().__init__()
        inner = max(4, channels // 4)
        self.nodes = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.guide = nn.Conv2d(channels, inner, kernel_size=1)
        self.mean = nn.AvgPool2d(kernel_size=3, stride=1, padding=1, count_include_pad=False)
        self.update = nn.Sequential(normalisation(norm, inner), nn.ReLU(inplace=True))
        self.gate = nn.Conv2d(inner, 1, kernel_size=1)

    def forward(self, skip: Tensor, guide: Tensor) -> Tensor:
        """Return the gated skip features."""
        nodes, signal = self.nodes(skip), self.guide(guide)
        weights = attention(self.mean(nodes) + signal, nodes)
        return skip * torch.sigmoid(self.gate(self.update(aggregate(weights, nodes, signal))))


class MinASPP(nn.Module):
    """Minimum atrous spatial pyramid pooling (the paper's section 3.3) in place of the bottleneck.

    Four branches of a quarter of the channels each: a 1x1 convolution, two depthwise-separable 3x3
    convolutions at dilation 2 and 4 (the map is 16 to 32 pixels wide, larger ones would see padding), and the
    mean over the whole map. A 1x1 convolution joins them.

    Shapes:
        (N, in_channels, H, W) -> (N, out_channels, H, W).

    Raises:
        ValueError: `out_channels` does not divide by four.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        super().__init__()
        if out_channels % 4:
            raise ValueError(f"Min-ASPP has four branches: {out_channels} channels do not divide by four")
        width = out_channels // 4
        self.branches = nn.ModuleList([Convolution(in_channels, width, kernel_size=1, norm=norm)])
        for dilation in (2, 4):
            self.branches.append(
                nn.Sequential(
                    nn.Conv2d(
                        in_channels,
                        in_channels,
                        kernel_size=3,
                        padding=dilation,
                        dilation=dilation,
                        groups=in_channels,
                        bias=False,
                    ),
                    Convolution(in_channels, width, kernel_size=1, norm=norm),
                )
            )
        # One value per channel is left here: a batch of one could not be normalised.
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), Convolution(in_channels, width, kernel_size=1))
        self.join = Convolution(out_channels, out_channels, kernel_size=1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pyramid's features of x."""
        height, width = x.shape[-2:]
        found = [branch(x) for branch in self.branches]
        found.append(self.whole(x).expand(-1, -1, height, width))
        return self.join(torch.cat(found, dim=1))


class AGMinASPPGSConvUNet(UNetBase):
    """A U-Net of GSConv, with graph attention on its skip connections and Min-ASPP at the bottleneck.

    The paper gives no widths; they are those of `UNet`, for comparison.

    Args:
        kind: 'gated' (the paper's text), 'graph' or 'shuffle'; see `lungfield.networks.gsconv`.
        features: channels of each level, from the finest to the bottleneck; two or more, the last one
            dividing by four.
        norm: None, 'batch' or 'instance'. The other arguments, and the shapes, are those of
            `lungfield.networks.blocks.UNetBase`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        kind: str = "gated",
        features: Sequence[int] = (32, 64, 128, 256, 512),
        norm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            features=features,
            block=partial(DoubleGSConv, kind=kind, norm=norm),
            bottleneck=partial(MinASPP, norm=norm),
            gate=partial(GraphAttentionGate, norm=norm),
        )
