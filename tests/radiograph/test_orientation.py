"""Radiographs come upright by PatientOrientation, and what belongs to their pixels turns with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import SecondaryCaptureImageStorage

from lungfield.pose import Pose
from lungfield.radiograph import read_radiograph

WINDOW = {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
ORIENTATIONS = ("L\\F", "R\\F", "L\\H", "R\\H", "F\\L", "F\\R", "H\\L", "H\\R")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_are_upright(
    orientation: str, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    pose = Pose.of_directions(*orientation.split("\\"))
    stored = np.ascontiguousarray(pose.stored(picture))
    path = make_dicom(tmp_path / "a.dcm", stored, PatientOrientation=orientation.split("\\"), **WINDOW)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, picture / 4095, atol=1e-6)
    assert radiograph.pixels.flags.c_contiguous
    assert radiograph.pose == pose
    assert radiograph.pose_is_known
    assert radiograph.shape == picture.shape
    assert radiograph.stored_shape == stored.shape


@pytest.mark.parametrize(
    ("orientation", "directions"),
    [
        (["LA", "FP"], ("L", "F")),
        (["F", "RP"], ("F", "R")),
        (["l", "f"], ("L", "F")),
    ],
)
def test_the_main_direction_counts(
    orientation: list[str],
    directions: tuple[str, str],
    picture: NDArray[np.uint16],
    make_dicom: Any,
    tmp_path: Path,
) -> None:
    radiograph = read_radiograph(make_dicom(tmp_path / "a.dcm", picture, PatientOrientation=orientation))
    assert radiograph.pose.directions == directions


@pytest.mark.parametrize("orientation", [None, "L", ["L", "L"], ["L", "F", "H"], ["X", "Y"], ["", ""]])
def test_what_is_not_told_is_taken_as_upright(
    orientation: Any, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, PatientOrientation=orientation, **WINDOW)
    radiograph = read_radiograph(path)
    assert radiograph.pose == Pose()
    assert not radiograph.pose_is_known
    np.testing.assert_allclose(radiograph.pixels, picture / 4095, atol=1e-6)


def test_spacing_padding_and_shutter_turn_with_the_pixels(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    pose = Pose.of_directions("F", "R")
    stored = np.ascontiguousarray(pose.stored(picture))
    path = make_dicom(
        tmp_path / "a.dcm",
        stored,
        PatientOrientation=["F", "R"],
        PixelSpacing=[0.3, 0.2],  # rows, columns as they are stored
        ShutterShape="RECTANGULAR",
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=stored.shape[0] - 10,
        ShutterLeftVerticalEdge=1,
        ShutterRightVerticalEdge=stored.shape[1],
        **WINDOW,
    )
    radiograph = read_radiograph(path)
    assert (radiograph.spacing.row_mm, radiograph.spacing.column_mm) == (0.2, 0.3)
    assert (radiograph.stored_spacing.row_mm, radiograph.stored_spacing.column_mm) == (0.3, 0.2)
    valid = np.ones(stored.shape, dtype=bool)
    valid[-10:] = False
    np.testing.assert_array_equal(radiograph.valid, pose.upright(valid))
    np.testing.assert_allclose(radiograph.pixels, np.where(pose.upright(valid), picture / 4095, 0), atol=1e-6)


def test_a_capture_in_colour_turns_too(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    grey = (picture >> 4).astype(np.uint8)
    stored = np.ascontiguousarray(np.repeat(grey[::-1, :, None], 3, axis=2))
    path = make_dicom(
        tmp_path / "a.dcm", stored, SOPClassUID=SecondaryCaptureImageStorage, PatientOrientation=["L", "H"]
    )
    np.testing.assert_allclose(read_radiograph(path).pixels, grey / 255, atol=1e-6)
