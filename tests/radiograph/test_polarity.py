"""Lungs are dark, whatever a file says of its values; and where it contradicts itself, that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from lungfield.radiograph import read_radiograph
from lungfield.radiograph.polarity import Polarity, read_polarity

# How much of the X-rays the body takes away: little at the left, as in the lungs, much at the right.
ATTENUATION = np.tile(np.linspace(0.5, 4.0, 200), (100, 1))


def header(**keywords: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "known"),
    [
        ("MONOCHROME2", None, False, True),
        ("MONOCHROME1", None, True, True),
        ("MONOCHROME2", "IDENTITY", False, True),
        ("MONOCHROME1", "INVERSE", True, True),
        ("MONOCHROME2", "INVERSE", True, False),
        ("MONOCHROME1", "IDENTITY", True, False),
        ("MONOCHROME1", "WHATEVER", True, True),
    ],
)
def test_photometric_interpretation_and_presentation_lut_shape(
    photometric: str, shape: str | None, inverted: bool, known: bool
) -> None:
    dataset = header(PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    assert read_polarity(dataset) == Polarity(inverted=inverted, is_known=known)


@pytest.mark.parametrize(("sign", "known"), [(-1, True), (1, False), (None, True), (0, True), ("x", True)])
def test_a_sign_that_makes_the_lungs_bright_contradicts_the_rest(sign: Any, known: bool) -> None:
    dataset = header(PresentationIntentType="FOR PRESENTATION", PixelIntensityRelationship="LOG")
    dataset.add_new("PixelIntensityRelationshipSign", "LO" if sign == "x" else "SS", sign)
    assert read_polarity(dataset) == Polarity(inverted=False, is_known=known)


@pytest.mark.parametrize(
    ("sop_class", "known"),
    [(ComputedRadiographyImageStorage, True), (SecondaryCaptureImageStorage, False)],
)
def test_a_capture_does_not_tell_its_polarity(sop_class: str, known: bool) -> None:
    assert read_polarity(header(SOPClassUID=sop_class)).is_known is known


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
def test_an_image_for_processing_shows_the_attenuation(
    relationship: str, sign: int, photometric: str, make_dicom: Any, tmp_path: Path
) -> None:
    intensity = 4000 * np.exp(-ATTENUATION)
    values = intensity if relationship == "LIN" else 1000 * np.log(intensity)
    if sign < 0:
        values = 4095 - values if relationship == "LIN" else 10_000 - values
    path = make_dicom(
        tmp_path / "a.dcm",
        np.rint(values).astype(np.uint16),
        BitsStored=14,
        SOPClassUID=DigitalXRayImageStorageForProcessing,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship=relationship,
        PixelIntensityRelationshipSign=sign,
        PhotometricInterpretation=photometric,
    )
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, (ATTENUATION - 0.5) / 3.5, atol=0.02)
    assert (np.diff(radiograph.pixels[50]) >= 0).all()  # dark where the most X-rays came through
    assert radiograph.polarity_is_known


def test_an_image_for_processing_that_does_not_tell_is_shown_by_its_photometric_interpretation(
    make_dicom: Any, tmp_path: Path
) -> None:
    values = np.rint(1000 * ATTENUATION).astype(np.uint16)
    path = make_dicom(
        tmp_path / "a.dcm",
        values.max() - values,
        PhotometricInterpretation="MONOCHROME1",
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="DISP",
    )
    assert (np.diff(read_radiograph(path).pixels[50]) >= 0).all()
