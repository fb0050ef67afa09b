import weakref

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lungfield.networks import GSConvUNet
from lungfield.networks.blocks import Convolution
from lungfield.networks.gsconv import (
    KINDS,
    GatedConvolution,
    GraphConvolution,
    ShuffleConvolution,
    gsconv,
)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that operations return, for as long as anything holds them.

    What an operation allocates and frees within itself is not seen: that is the backend's own affair.
    """

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self._seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage):
        if storage._cdata not in self._seen:
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            self._seen[storage._cdata] = weakref.finalize(
                storage, self._release, storage._cdata, storage.nbytes()
            )

    def _release(self, identity, size):
        self.live -= size
        del self._seen[identity]


def peak_bytes(block, *, training):
    """The most that is alive at once in a pass through `block`, its input of 32 x 512 x 512 included."""
    block.train(training)
    with LiveMemory() as memory, torch.set_grad_enabled(training):
        result = block(torch.rand(1, 32, 512, 512, requires_grad=training))
        if training:
            result.sum().backward()
    return memory.peak


@pytest.mark.parametrize("training", [True, False])
def test_graph_needs_hardly_more_memory_than_a_convolution(training):
    plain = peak_bytes(Convolution(32, 32, norm="batch"), training=training)
    graph = peak_bytes(GraphConvolution(32, 32, norm="batch"), training=training)
    feature_map = 32 * 512 * 512 * 4
    assert plain >= 3 * feature_map  # the input, the convolution's result and the normalised one
    assert graph < 1.5 * plain


@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_graph_is_the_formula_of_its_docstring(norm):
    torch.manual_seed(0)
    block, x = GraphConvolution(3, 8, norm=norm), torch.randn(2, 3, 7, 5)
    h, query, key = block.convolution(x), block.query(x), block.key(x)
    keys = functional.unfold(key, 3, padding=1).view(2, 4, 9, 7, 5)
    outside = functional.unfold(torch.ones(1, 1, 7, 5), 3, padding=1).view(1, 9, 7, 5) == 0
    scores = (query[:, :, None] * keys).sum(dim=1) / 4**0.5
    weights = scores.masked_fill(outside, float("-inf")).softmax(dim=1)
    neighbours = functional.unfold(h, 3, padding=1).view(2, 8, 9, 7, 5)
    expected = torch.relu(block.norm(h + (weights[:, None] * neighbours).sum(dim=2)))
    torch.testing.assert_close(block(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected)


def test_gated_with_a_gate_of_zeros_is_half_of_the_convolution():
    block, x = GatedConvolution(3, 6, norm="batch"), torch.randn(2, 3, 7, 5)
    for parameter in block.gate.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x), block.features(x) / 2)


def test_gate_opens_and_closes_each_place_of_each_channel():
    block, x = GatedConvolution(1, 2), torch.tensor([-1.0, 1, -1]).view(1, 1, 1, 3)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.features[0].bias.fill_(7)
        block.gate[0].weight[0, 0, 1, 1] = 1
        block.gate[1].weight.copy_(torch.tensor([50.0, -50]).view(2, 1, 1, 1))
    expected = torch.tensor([[0.0, 7, 0], [7, 0, 7]])
    torch.testing.assert_close(block(x)[0, :, 0], expected)


def test_shuffle_alternates_dense_and_depthwise_channels():
    block, x = ShuffleConvolution(3, 6, norm="batch"), torch.randn(2, 3, 7, 5)
    result, dense = block(x), block.dense(x)
    torch.testing.assert_close(result[:, 0::2], dense)
    torch.testing.assert_close(result[:, 1::2], block.depthwise(dense))


def test_shuffle_needs_an_even_number_of_channels():
    with pytest.raises(ValueError, match="even number of channels, not 5"):
        ShuffleConvolution(3, 5)


def test_an_unknown_kind_is_told_the_known_ones():
    with pytest.raises(ValueError, match="graph, gated, shuffle, not 'ghost'"):
        GSConvUNet(kind="ghost")


@pytest.mark.parametrize("kind", KINDS)
def test_computes_in_the_precision_of_autocast(kind):
    torch.manual_seed(0)
    block, x = gsconv(kind, 3, 8, norm="batch"), torch.randn(2, 3, 9, 7)
    expected = block(x)
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
            got = block(x)
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), expected, rtol=0.1, atol=0.1)
        if training:
            got.float().sum().backward()
            assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_takes_any_size(export_to_onnx, kind):
    torch.manual_seed(0)
    block = gsconv(kind, 3, 8, norm="batch").eval().requires_grad_(False)
    run = export_to_onnx(block, torch.rand(2, 3, 12, 14), any_size=True)
    image = torch.rand(3, 3, 7, 9)
    torch.testing.assert_close(run(image), block(image), rtol=1e-4, atol=1e-5)
