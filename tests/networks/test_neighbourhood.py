import pytest
import torch
from torch.nn import functional

from lungfield.networks.neighbourhood import _weighted_sum, aggregate, attention


def naive(weights, values, start):
    """The same by nine unfolded copies of the values."""
    size, channels, height, width = values.shape
    copies = functional.unfold(values, kernel_size=3, padding=1).view(size, channels, 9, height, width)
    return start + (copies * weights[:, None]).sum(dim=2)


@pytest.fixture(params=[(5, 7), (1, 4), (1, 1)])
def graph(request):
    """Weights, values and start in double precision; a picture of one row has none above or below."""
    torch.manual_seed(0)
    height, width = request.param
    weights = attention(torch.randn(2, 4, height, width), torch.randn(2, 4, height, width)).double()
    values, start = torch.randn(2, 2, 3, height, width).double()
    return weights.requires_grad_(), values.requires_grad_(), start.requires_grad_()


def test_aggregate_is_the_sum_over_unfolded_copies(graph):
    torch.testing.assert_close(aggregate(*graph), naive(*graph))
    torch.testing.assert_close(_weighted_sum(*graph), naive(*graph))


def test_gradients_are_those_of_the_plain_sum(graph):
    assert torch.autograd.gradcheck(aggregate, graph)
    upstream = torch.randn_like(graph[1])
    expected = torch.autograd.grad(_weighted_sum(*graph), graph, upstream)
    torch.testing.assert_close(torch.autograd.grad(aggregate(*graph), graph, upstream), expected)


def test_attention_sums_to_one_inside_the_picture():
    torch.manual_seed(0)
    weights = attention(10 * torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 6, 5))
    weights = weights.unflatten(1, (3, 3))
    assert weights.min() >= 0
    assert not weights[:, 0, :, 0].any()
    assert not weights[:, 2, :, -1].any()
    assert not weights[:, :, 0, :, 0].any()
    assert not weights[:, :, 2, :, -1].any()


def test_attention_prefers_the_neighbour_that_is_asked_for():
    key = torch.zeros(1, 4, 3, 3)
    key[0, 2, 0, 1] = 20
    query = torch.zeros(1, 4, 3, 3)
    query[0, 2, 1, 1] = 20
    weights = attention(query, key)
    assert weights[0, 1, 1, 1] > 0.999  # offsets go row by row: the pixel above is the second
    torch.testing.assert_close(weights[0, :4, 2, 2], torch.tensor([0.25, 0.25, 0, 0.25]))


def test_attention_to_nothing_in_particular_is_the_mean_of_the_neighbours():
    weights = attention(torch.zeros(1, 4, 4, 5), torch.randn(1, 4, 4, 5))
    torch.testing.assert_close(weights[0, :, 1, 2], torch.full((9,), 1 / 9))
    torch.testing.assert_close(weights[0, :, 0, 2].unique(), torch.tensor([0, 1 / 6]))
    torch.testing.assert_close(weights[0, :, 0, 0].unique(), torch.tensor([0, 1 / 4]))
    values = torch.rand(1, 3, 4, 5)
    mean = functional.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(aggregate(weights, values, torch.zeros_like(values)), mean)
