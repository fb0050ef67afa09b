"""Values read with the wrong sign or with too few bits are remarked on; those read rightly are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid

from lungfield.radiograph import read_radiograph

SIGN = "PixelRepresentation"
BITS = "BitsStored"


@pytest.fixture
def smooth() -> NDArray[np.uint16]:
    """(200, 180) uint16 in [0, 4095]: smooth with noise, through all of the range."""
    rows, columns = np.mgrid[0:200, 0:180]
    values = 2047 + 1900 * np.sin(rows / 40) * np.cos(columns / 35)
    return (values + np.random.default_rng(0).normal(0, 30, values.shape)).clip(0, 4095).astype(np.uint16)


def remarks(path: Path) -> str:
    return " ".join(read_radiograph(path).warnings)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_what_is_right_is_not_remarked_on(
    syntax: uid.UID,
    smooth: NDArray[np.uint16],
    picture: NDArray[np.uint16],
    make_dicom: Any,
    tmp_path: Path,
) -> None:
    signed = smooth.astype(np.int16) - 2048
    collimated = smooth.copy()
    collimated[:, :20] = collimated[:, -20:] = 4095
    collimated[:30] = 0
    for values in (smooth, signed, picture, collimated, smooth >> 4):
        path = make_dicom(tmp_path / "a.dcm", values, transfer_syntax=syntax)
        assert remarks(path) == ""


def test_an_overlay_in_the_unused_bits_is_not_remarked_on(
    smooth: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    smooth[50:80, 30:60] |= 0x3000
    assert remarks(make_dicom(tmp_path / "a.dcm", smooth)) == ""


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_unsigned_values_that_are_called_signed(
    syntax: uid.UID, smooth: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", smooth, transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    dataset.PixelRepresentation = 1
    dataset.save_as(path)
    assert SIGN in remarks(path)


def test_signed_values_that_are_called_unsigned(
    smooth: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    signed = smooth.astype(np.int16) - 2048
    for bits in (12, 16):
        path = make_dicom(tmp_path / "a.dcm", signed, PixelRepresentation=0, BitsStored=bits)
        assert SIGN in remarks(path)


def test_more_bits_than_are_said_to_be_stored(
    smooth: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    for bits in (10, 11):
        assert BITS in remarks(make_dicom(tmp_path / "a.dcm", smooth, BitsStored=bits))
