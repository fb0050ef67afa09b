"""Poses: bringing an array upright and back, by directions that are known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lungfield.pose import ALL_POSES, MIRRORED, QUARTER_TURNS, UPRIGHT, UPSIDE_DOWN, Pose

# Upright, H marks the head's end and R the patient's right side, which is on the left of the picture.
PICTURE = np.array([list("RHL"), list("RFL")])

DIRECTIONS = [pair for pair in product("LRHF", repeat=2) if (pair[0] in "LR") != (pair[1] in "LR")]


def stored_along(along_rows: str, along_columns: str) -> np.ndarray:
    """`PICTURE` as a device stores it whose rows and columns run to these directions; built step by step."""
    steps = {"L": (0, 1), "R": (0, -1), "F": (1, 0), "H": (-1, 0)}
    right, down = steps[along_rows], steps[along_columns]
    corner = [0 if min(right[axis], down[axis]) >= 0 else PICTURE.shape[axis] - 1 for axis in (0, 1)]
    width, height = (max(abs(np.dot(step, PICTURE.shape)), 1) for step in (right, down))
    rows = [
        [
            PICTURE[corner[0] + r * down[0] + c * right[0], corner[1] + r * down[1] + c * right[1]]
            for c in range(width)
        ]
        for r in range(height)
    ]
    return np.array(rows)


@pytest.mark.parametrize("directions", DIRECTIONS, ids="".join)
def test_every_direction_comes_upright_and_goes_back(directions):
    stored = stored_along(*directions)
    pose = Pose.of_directions(*directions)
    np.testing.assert_array_equal(pose.upright(stored), PICTURE)
    np.testing.assert_array_equal(pose.stored(PICTURE), stored)
    assert pose.directions == directions
    assert pose.stored_pair(PICTURE.shape) == stored.shape


def test_eight_poses_differ():
    poses = {Pose.of_directions(*pair) for pair in DIRECTIONS}
    assert len(poses) == 8
    assert poses == set(ALL_POSES)
    assert {pose for pose in poses if not pose.is_mirrored} == set(QUARTER_TURNS)


@pytest.mark.parametrize(("first", "second"), list(product(ALL_POSES, repeat=2)))
def test_one_pose_after_another(first, second):
    np.testing.assert_array_equal(first.then(second).upright(PICTURE), second.upright(first.upright(PICTURE)))


@pytest.mark.parametrize("directions", [("A", "F"), ("L", "R"), ("H", "F"), ("L", ""), ("", ""), ("L", "X")])
def test_directions_that_are_not_frontal_give_no_pose(directions):
    assert Pose.of_directions(*directions) is None


def test_known_poses():
    assert UPRIGHT.is_upright
    assert not UPSIDE_DOWN.is_upright
    assert Pose.of_directions("R", "F") == MIRRORED
    assert MIRRORED.is_mirrored


def test_colour_turns_like_grey():
    colour = np.arange(24).reshape(2, 4, 3)
    turned = QUARTER_TURNS[1].upright(colour)
    assert turned.shape == (4, 2, 3)
    for channel in range(3):
        np.testing.assert_array_equal(turned[..., channel], QUARTER_TURNS[1].upright(colour[..., channel]))
