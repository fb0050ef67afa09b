"""Attention of a pixel to its 3x3 neighbourhood.

Pixels are nodes of a graph, with edges to themselves and their eight neighbours. Everything is computed by
shifts over the nine offsets, as unfolding would need memory for nine copies of the features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def attention(query: Tensor, key: Tensor) -> Tensor:
    """The attention weight of each neighbour of each pixel: the softmax of their scaled dot products.

    Neighbours beyond the edge of the picture get no weight.

    Shapes:
        query and key (N, E, H, W), one vector per pixel; output (N, 9, H, W) in [0, 1], summing to one over
        the second axis, with the offsets in row-major order.
    """
    height, width = query.shape[-2:]
    key = functional.pad(key, [1, 1, 1, 1])
    inside = functional.pad(torch.ones_like(query[:1, :1]), [1, 1, 1, 1])
    scores: list[Tensor] = []
    for offset in range(9):
        row, column = offset // 3, offset % 3
        there = key[..., row : row + height, column : column + width]
        outside = inside[..., row : row + height, column : column + width] == 0
        score = (query * there).sum(dim=1, keepdim=True) / query.shape[1] ** 0.5
        scores.append(score.masked_fill(outside, float("-inf")))
    return torch.cat(scores, dim=1).softmax(dim=1)


def aggregate(weights: Tensor, values: Tensor, start: Tensor) -> Tensor:
    """Add the weighted sum of each pixel's neighbours to `start`.

    The sum is accumulated in a copy of `start`, which saves the memory of another map.

    Shapes:
        weights (N, 9, H, W), as `attention` gives them; values, start and output (N, C, H, W).
    """
    if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return _weighted_sum(weights, values, start)
    return _Aggregate.apply(weights, values, start)


def _weighted_sum(weights: Tensor, values: Tensor, start: Tensor) -> Tensor:
    """The sum as an exportable graph: its slices do not depend on the size of the picture."""
    height, width = values.shape[-2:]
    padded = functional.pad(values, [1, 1, 1, 1])
    total = start.clone()
    for offset in range(9):
        row, column = offset // 3, offset % 3
        there = padded[..., row : row + height, column : column + width]
        total.addcmul_(weights[:, offset : offset + 1], there)
    return total


def _overlaps(height: int, width: int) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """For each offset, the slices of pixels with a neighbour at that offset, and of the neighbours."""

    def along(step: int, length: int) -> tuple[slice, slice]:
        return slice(max(0, -step), length - max(0, step)), slice(max(0, step), length + min(0, step))

    pairs = []
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            (here_y, there_y), (here_x, there_x) = along(row, height), along(column, width)
            pairs.append(((here_y, here_x), (there_y, there_x)))
    return pairs


class _Aggregate(torch.autograd.Function):
    """`_weighted_sum` without padding, and with its own backward pass.

    Automatic differentiation would allocate and add a map of zeros for each of the nine offsets; this one
    adds in place, and saves only its first two inputs.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, start: Tensor) -> Tensor:
        ctx.save_for_backward(weights, values)
        total = start.clone()
        for offset, (here, there) in enumerate(_overlaps(*values.shape[-2:])):
            total[..., *here].addcmul_(weights[:, offset : offset + 1, *here], values[..., *there])
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        weights, values = ctx.saved_tensors
        overlaps = _overlaps(*values.shape[-2:])
        # Two loops, as the product and `to_values` are each as large as the features.
        to_weights = torch.zeros_like(weights)
        for offset, (here, there) in enumerate(overlaps):
            to_weights[:, offset, *here] = (gradient[..., *here] * values[..., *there]).sum(dim=1)
        to_values = torch.zeros_like(values)
        for offset, (here, there) in enumerate(overlaps):
            to_values[..., *there].addcmul_(weights[:, offset : offset + 1, *here], gradient[..., *here])
        return to_weights, to_values, gradient
