import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.fixture
def structures(tmp_path):
    """Logits (1, 4, 64, 64) of lungs, heart, clavicles and an own structure, and a batch with their masks."""
    boxes = {
        "right_lung": (slice(16, 56), slice(6, 26)),
        "left_lung": (slice(16, 56), slice(38, 58)),
        "heart": (slice(32, 56), slice(24, 46)),
        "right_clavicle": (slice(17, 20), slice(8, 24)),
        "left_clavicle": (slice(17, 20), slice(40, 56)),
        "aorta": (slice(14, 32), slice(28, 34)),
    }
    masks = {name: np.zeros((64, 64), dtype=bool) for name in boxes}
    for name, box in boxes.items():
        masks[name][box] = True
        Image.fromarray(masks[name]).save(tmp_path / f"{name}.png")
    lungs = masks["right_lung"] | masks["left_lung"]
    clavicles = masks["right_clavicle"] | masks["left_clavicle"]
    channels = np.stack([lungs, masks["heart"], clavicles, masks["aorta"]])
    label = masks["right_lung"] + 2 * masks["left_lung"]
    files = [name for name in boxes if "lung" not in name]
    source = {"id": "one", "dataset": "set", "spacing_mm": [2.0, 2.0]}
    return (
        torch.from_numpy(np.where(channels, 9.0, -9.0).astype(np.float32))[None],
        torch.from_numpy(label.astype(np.float32)).T[None],
        source | {"structures": {name: str(tmp_path / f"{name}.png") for name in files}},
    )


def measured_structures(logits, label, source, tmp_path):
    """What summary.json and metrics.csv say of one image."""
    classes, names = (255, 3, 253, -3), ("heart", "clavicles", "aorta")
    handler = AgreementHandler(tmp_path / "out", PartialDiceCELoss(), classes, names)
    batch = {"structures": {name: [path] for name, path in source["structures"].items()}}
    state = SimpleNamespace(output={"pred": logits, "label": label[None]}, batch=batch, metrics={})
    engine = SimpleNamespace(state=state)
    handler._keep_structures(engine)
    handler._measure_loss(engine)
    state.output, state.batch = [{"pred": label, "label": label}], [source]
    handler._measure(engine)
    handler._finish(engine)
    (row,) = csv.DictReader((tmp_path / "out" / "metrics.csv").read_text("utf-8-sig").splitlines())
    return json.loads((tmp_path / "out" / "summary.json").read_text())["set"], row


def test_further_structures_are_measured(structures, tmp_path):
    logits, label, source = structures
    logits[:, 1, 54:] = -9  # the heart's lowest two rows of 24
    logits[:, 2, 60:, :3] = 9  # no clavicle, and cleaned away
    summary, row = measured_structures(logits, label, source, tmp_path)
    assert summary["heart_dice"]["mean"] == pytest.approx(2 * 22 / (22 + 24))
    assert summary["heart_hd95_mm"]["mean"] <= 4
    assert summary["clavicles_dice"]["mean"] == summary["aorta_dice"]["mean"] == summary["dice"]["mean"] == 1
    assert float(row["heart_dice"]) == pytest.approx(summary["heart_dice"]["mean"], abs=1e-6)
    assert summary["loss"] < 0.1


def test_what_has_no_mask_is_not_measured(structures, tmp_path):
    logits, label, source = structures
    source["structures"]["left_clavicle"] = ""
    logits[:, 2] = 9
    summary, row = measured_structures(logits, label, source, tmp_path)
    assert "clavicles_dice" not in summary
    assert row["clavicles_dice"] in ("", "nan")
    assert summary["heart_dice"]["mean"] == 1
    assert summary["loss"] < 0.1
