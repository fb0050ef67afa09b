"""Heart and clavicles: what is kept of a network's logits, and on which side."""

import numpy as np
import pytest

from lungfield.labels import CLAVICLE_SIDE_UNKNOWN, HEART
from lungfield.mask import native_structures, with_structures


@pytest.fixture
def lungs(image_left_lung, image_right_lung):
    return (image_left_lung * 1 + image_right_lung * 2).astype(np.uint8)


def logits(*masks):
    return np.where(np.logical_or.reduce(masks), 2.0, -2.0).astype(np.float32)


def test_the_largest_heart_without_holes(lungs, ellipse):
    heart, hole, speck = ellipse(130, 120, 30, 35), ellipse(130, 120, 5, 5), ellipse(60, 120, 6, 6)
    found = native_structures({HEART.value: logits(heart & ~hole, speck)}, lungs, lungs.shape)
    assert list(found) == ["heart"]
    assert (found["heart"] == heart).all()


def test_noise_is_no_heart(lungs, ellipse):
    small = {HEART.value: logits(ellipse(130, 120, 10, 12))}
    assert not native_structures(small, lungs, lungs.shape)["heart"].any()
    heart = {HEART.value: logits(ellipse(130, 120, 30, 35))}
    assert not native_structures(heart, np.zeros_like(lungs), lungs.shape)["heart"].any()


def test_clavicles_by_side(lungs, ellipse):
    right, left = ellipse(45, 75, 5, 35), ellipse(45, 165, 5, 30)
    low = ellipse(150, 165, 12, 50)  # larger, and too far down
    found = native_structures({CLAVICLE_SIDE_UNKNOWN: logits(right, left, low)}, lungs, lungs.shape)
    assert (found["right_clavicle"] == right).all()
    assert (found["left_clavicle"] == left).all()
    joined = native_structures({CLAVICLE_SIDE_UNKNOWN: logits(ellipse(45, 120, 5, 80))}, lungs, lungs.shape)
    assert joined["right_clavicle"].any()
    assert not (joined["right_clavicle"] & joined["left_clavicle"]).any()
    assert np.flatnonzero(joined["right_clavicle"].any(axis=0))[-1] < 122


def test_a_finer_grid(lungs, ellipse):
    heart = ellipse(130, 120, 30, 35)
    found = native_structures({HEART.value: logits(heart)}, lungs, (400, 480))["heart"]
    assert np.mean(found != np.kron(heart, np.ones((2, 2), dtype=bool))) < 0.002


def test_a_label_map_keeps_its_lungs(lungs, ellipse):
    structures = {"heart": ellipse(130, 120, 30, 35), "left_clavicle": ellipse(45, 165, 5, 70)}
    combined = with_structures(lungs, structures)
    assert (np.where(combined < 3, combined, 0) == lungs).all()
    assert ((combined == 3) == (structures["heart"] & (lungs == 0))).all()
    assert (combined == 5).sum() == (structures["left_clavicle"] & (lungs == 0)).sum()
