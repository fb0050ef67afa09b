from types import SimpleNamespace

import pytest
import torch

from lungfield.training import PartialDiceCELoss
from lungfield.training.evaluation import AgreementHandler


def example():
    """Logits (1, 1, 16, 16) that are right, and their label (1, 1, 64, 64) in MONAI's order of axes.

    Every kind of lung label counts as lung, and the label is averaged to the size of the logits.
    """
    label = torch.zeros(1, 1, 64, 64)
    label[..., 8:24, 10:50], label[..., 40:56, 10:50] = 2, 255
    share = torch.nn.functional.avg_pool2d((label > 0).float().transpose(-1, -2), 4)
    return (share - 0.5) * 40, label


def loss(logits, label):
    handler = AgreementHandler("unused", PartialDiceCELoss())
    output = {"pred": logits, "label": label}
    handler._measure_loss(SimpleNamespace(state=SimpleNamespace(output=output)))
    return handler._loss


def measured(prediction, label):
    handler = AgreementHandler("unused")
    handler._loss = 0.0
    source = {"id": "one", "dataset": "set", "spacing_mm": [1.0, 1.0]}
    output = [{"pred": prediction, "label": label}]
    handler._measure(SimpleNamespace(state=SimpleNamespace(output=output, batch=[source])))
    (result,) = handler._results
    return result.agreement


def test_loss_of_a_perfect_prediction_is_small():
    assert loss(*example()) < 0.1


def test_what_is_unknown_counts_neither_for_nor_against():
    logits, label = example()
    prediction = (label[0] > 0).float()
    label[..., 40:, :] = 254
    wrong = logits.clone()
    wrong[..., 10:] *= -1
    assert loss(wrong, label) == pytest.approx(loss(logits, label))
    wrong_mask = prediction.clone()
    wrong_mask[:, 40:] = 1 - wrong_mask[:, 40:]
    assert measured(wrong_mask, label[0]) == measured(prediction, label[0])
    assert measured(prediction, label[0]).dice == 1
    wrong_mask[:, 8:12] = 0
    assert measured(wrong_mask, label[0]).dice < 0.95
