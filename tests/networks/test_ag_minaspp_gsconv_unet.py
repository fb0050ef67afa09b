import pytest
import torch

from lungfield.networks.ag_minaspp_gsconv_unet import AGMinASPPGSConvUNet, GraphAttentionGate, MinASPP


@pytest.fixture
def pyramid():
    torch.manual_seed(0)
    return MinASPP(8, 12).eval()


def test_whole_map_branch_answers_the_mean_alone(pyramid):
    """It sees no order, and gives a map of its mean what it gives the map."""
    x = torch.rand(1, 8, 6, 6)
    shuffled = x.flatten(2)[..., torch.randperm(36)].view_as(x)
    constant = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    expected = pyramid.whole(x)
    assert expected.shape == (1, 3, 1, 1)
    assert expected.any()
    torch.testing.assert_close(pyramid.whole(shuffled), expected)
    torch.testing.assert_close(pyramid.whole(constant), expected)
    assert not torch.equal(pyramid.whole(2 * constant), expected)


def test_a_constant_map_stays_constant_inside(pyramid):
    inside = pyramid(torch.full((1, 8, 12, 12), 0.7))[..., 4:-4, 4:-4]
    assert inside.any()
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))


@pytest.mark.parametrize(("branch", "distance"), [(0, 0), (1, 2), (2, 4)])
def test_an_impulse_reaches_as_far_as_the_dilation(pyramid, branch, distance):
    """To nine points, `distance` apart: nothing in between and nothing beyond."""
    impulse = torch.zeros(1, 8, 13, 13, requires_grad=True)
    pyramid.branches[branch][0](impulse)[0, :, 6, 6].sum().backward()
    rows, columns = impulse.grad[0].abs().sum(dim=0).nonzero(as_tuple=True)
    reached = {6 - distance, 6, 6 + distance}
    assert set(rows.tolist()) == set(columns.tolist()) == reached
    assert len(rows) == len(reached) ** 2


def test_four_branches_need_channels_that_divide_by_four():
    with pytest.raises(ValueError, match="10 channels do not divide by four"):
        MinASPP(8, 10)
    with pytest.raises(ValueError, match="10 channels do not divide by four"):
        AGMinASPPGSConvUNet(features=(4, 10))


@pytest.fixture
def gate():
    torch.manual_seed(0)
    return GraphAttentionGate(8, norm="batch").eval()


def test_gate_weighs_all_channels_of_a_pixel_alike(gate):
    skip = torch.rand(2, 8, 5, 7) + 0.5
    openness = gate(skip, torch.randn(2, 8, 5, 7)) / skip
    torch.testing.assert_close(openness, openness[:, :1].expand_as(openness))
    assert openness.min() > 0
    assert openness.max() < 1
    assert openness.std() > 0.001  # a gate that is the same everywhere would pass so far


def test_gate_answers_the_guide_and_the_neighbours(gate):
    skip = torch.rand(1, 8, 7, 7)
    guide = torch.randn(1, 8, 7, 7)
    result = gate(skip, guide)
    assert not torch.allclose(result, gate(skip, -guide))
    other = skip.clone()
    other[..., 3, 3] += 1
    changed = (gate(other, guide) - result).abs().sum(dim=1)[0] > 0
    assert changed[2:5, 2:5].sum() > 1
    assert changed.sum() == changed[2:5, 2:5].sum()
