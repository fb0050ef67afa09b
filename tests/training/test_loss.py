import pytest
import torch
from monai.losses import DiceCELoss

from lungfield.errors import BundleError
from lungfield.training import PartialDiceCELoss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 16, 12, generator=generator) * 3
    lung = torch.rand(3, 1, 16, 12, generator=generator)  # shares, as at the contour
    return logits, lung


def test_is_monais_loss_where_all_is_known(batch):
    logits, lung = batch
    expected = DiceCELoss(sigmoid=True, batch=True)(logits, lung)
    torch.testing.assert_close(PartialDiceCELoss()(logits, lung), expected)
    known = torch.cat([lung, torch.zeros_like(lung)], dim=1)
    torch.testing.assert_close(PartialDiceCELoss()(logits, known), expected)


def test_unknown_pixels_count_for_nothing(batch):
    logits, lung = batch
    unknown = torch.zeros_like(lung)
    unknown[..., 5:] = 1
    partial = PartialDiceCELoss()(logits, torch.cat([lung, unknown], dim=1))
    torch.testing.assert_close(partial, PartialDiceCELoss()(logits[..., :5], lung[..., :5]))
    logits = logits.requires_grad_()
    PartialDiceCELoss()(logits, torch.cat([lung, unknown], dim=1)).backward()
    assert not logits.grad[..., 5:].any()
    assert logits.grad[..., :5].all()


def test_nothing_known_gives_a_finite_loss(batch):
    logits, lung = batch
    assert PartialDiceCELoss()(logits, torch.cat([lung, torch.ones_like(lung)], dim=1)).isfinite()


def test_either_part_can_be_had_alone(batch):
    logits, lung = batch
    parts = [PartialDiceCELoss(lambda_dice=1, lambda_ce=0), PartialDiceCELoss(lambda_dice=0, lambda_ce=1)]
    whole = PartialDiceCELoss()(logits, lung)
    torch.testing.assert_close(sum(part(logits, lung) for part in parts), whole)
    expected = torch.nn.BCEWithLogitsLoss()(logits, lung)
    torch.testing.assert_close(parts[1](logits, lung), expected)


def test_a_pixel_that_is_half_unknown_goes_by_its_other_half():
    """As between lung and unknown on a coarser grid: sure of lung is right there, and sure of none is not."""
    target = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1)
    sure = torch.full((1, 1, 1, 1), 12.0)
    assert PartialDiceCELoss()(sure, target) < 0.01
    assert PartialDiceCELoss()(-sure, target) > 5


def test_is_monais_loss_of_classes_where_all_is_known():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 3, 16, 12, generator=generator)
    shares = torch.softmax(torch.randn(3, 3, 16, 12, generator=generator), dim=1)
    expected = DiceCELoss(softmax=True, batch=True)(logits, shares)
    torch.testing.assert_close(PartialDiceCELoss()(logits, shares), expected)
    unknown = torch.zeros(3, 1, 16, 12)
    unknown[..., 5:] = 1
    partial = PartialDiceCELoss()(logits, torch.cat([shares * (1 - unknown), unknown], dim=1))
    torch.testing.assert_close(partial, PartialDiceCELoss()(logits[..., :5], shares[..., :5]))


def test_classes_and_channels_must_be_as_many(batch):
    logits, lung = batch
    with pytest.raises(BundleError, match="has 3 output channels"):
        PartialDiceCELoss()(logits.expand(-1, 3, -1, -1), lung.expand(-1, 2, -1, -1))


def test_structures_that_overlap_have_a_loss_each(batch):
    logits, lung = batch
    logits = torch.cat([logits, -logits], dim=1)
    shares = torch.cat([lung, lung**2], dim=1)
    expected = [DiceCELoss(sigmoid=True, batch=True)(logits[:, [one]], shares[:, [one]]) for one in range(2)]
    known = torch.cat([shares, torch.zeros_like(shares)], dim=1)
    torch.testing.assert_close(PartialDiceCELoss()(logits, known), sum(expected) / 2)


def test_a_structure_counts_where_it_is_known(batch):
    logits, lung = batch
    logits, shares = logits.repeat(1, 2, 1, 1).requires_grad_(), lung.repeat(1, 2, 1, 1)
    unknown = torch.zeros_like(shares)
    unknown[:2, 1] = 1  # a mask for one image of three
    loss = PartialDiceCELoss()(logits, torch.cat([shares, unknown], dim=1))
    alone = [PartialDiceCELoss()(logits[:, :1], lung), PartialDiceCELoss()(logits[2:, 1:], lung[2:])]
    torch.testing.assert_close(loss, sum(alone) / 2)
    loss.backward()
    assert not logits.grad[:2, 1].any()
    unknown[:, 1] = 1
    loss = PartialDiceCELoss()(logits, torch.cat([shares, unknown], dim=1))
    torch.testing.assert_close(loss, alone[0])
    nothing = PartialDiceCELoss()(logits, torch.cat([shares, torch.ones_like(shares)], dim=1))
    assert nothing == 0
    nothing.backward()
