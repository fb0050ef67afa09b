"""Make the synthetic sample data that ship with lungfield: `python scripts/make_sample_data.py [FOLDER]`.

Seven phantoms as DICOM files that differ in all that a reader must cope with, their exact masks, and two
files that must be turned down. FOLDER, by default sample_data, must not hold them already. The same versions
of the libraries give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from lungfield.datasets.layout import (
    IMAGES,
    LABELS,
    Item,
    SetDescription,
    finish_set,
    label_values,
    start_set,
    write_png,
)
from lungfield.labels import LUNGS, Code
from lungfield.radiograph import read_radiograph
from phantoms import add_pixels, code_item, make_phantom, phantom_dataset, write_dicom

SEED = 2026
DESCRIPTION = SetDescription(
    name="sample_data",
    description="Synthetic chest radiographs with exact masks; made by scripts/make_sample_data.py.",
    source="lungfield",
    licence="Apache-2.0",
)

# Attributes of a Digital X-Ray Image that the other kinds of image do not have.
DX_ONLY = dict.fromkeys((
    "PresentationIntentType", "ImageLaterality", "PatientOrientationCodeSequence", "DetectorType",
    "PositionerType", "PixelIntensityRelationship", "PixelIntensityRelationshipSign",
    "AcquisitionContextSequence", "AnatomicRegionSequence", "ViewCodeSequence", "PresentationLUTShape",
))  # fmt: skip
CR = {**DX_ONLY, "SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR"}
CAPTURE = {
    **DX_ONLY,
    **dict.fromkeys(("AcquisitionDate", "AcquisitionTime", "ViewPosition", "WindowCenter", "WindowWidth")),
    **dict.fromkeys(("RescaleIntercept", "RescaleSlope", "RescaleType")),
    "SOPClassUID": SecondaryCaptureImageStorage,
    "Modality": "DX",
    "ConversionType": "WSD",
    "ImageType": ["DERIVED", "SECONDARY"],
}


@dataclass(frozen=True)
class Sample:
    """A sample file: which phantom, how it is stored, and what its header says.

    Attributes:
        stem: of the file's name.
        section: of the list.
        name: PatientName.
        shape: (rows, columns).
        spacing: keywords for the distance of pixels, made from that distance in mm.
        keywords: further attributes.
        alter: changes the pixels before they are stored.
    """

    stem: str
    section: str
    name: str
    shape: tuple[int, int]
    bits_stored: int = 12
    monochrome1: bool = False
    transfer_syntax: UID = ExplicitVRLittleEndian
    spacing: Callable[[float], dict[str, Any]] = lambda mm: {"ImagerPixelSpacing": [mm, mm]}
    keywords: dict[str, Any] = field(default_factory=dict)
    alter: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda pixels: pixels


def calibrated(spacing_mm: float) -> dict[str, Any]:
    """Both spacings, that in the patient corrected for the magnification."""
    in_patient = round(spacing_mm / 1.08, 4)
    return {
        "ImagerPixelSpacing": [spacing_mm, spacing_mm],
        "PixelSpacing": [in_patient, in_patient],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "chest at 8 % magnification",
    }


def magnified(spacing_mm: float) -> dict[str, Any]:
    """The detector's spacing, with the magnification beside it."""
    return {
        "ImagerPixelSpacing": [spacing_mm, spacing_mm],
        "EstimatedRadiographicMagnificationFactor": 1.1,
        "DistanceSourceToDetector": 1800.0,
        "DistanceSourceToPatient": 1636.4,
    }


def no_spacing(spacing_mm: float) -> dict[str, Any]:  # noqa: ARG001
    """No spacing at all."""
    return {}


def lower_third(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leave two thirds of the range unused, as raw detectors do; a window then says where the picture is."""
    return 0.1 + pixels / 3


def padded(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill 12 columns at either side with 0, the padding value, which the picture itself never has."""
    filled = 0.01 + 0.99 * pixels
    filled[:, :12] = filled[:, -12:] = 0
    return filled


SAMPLES = (
    Sample("01_dx_explicit", "training", "Phantom^One", (448, 448), spacing=calibrated),
    Sample(
        "02_dx_inverse_jpeg2000",
        "training",
        "Phantom^Two",
        (560, 464),
        bits_stored=14,
        monochrome1=True,
        transfer_syntax=JPEG2000Lossless,
        spacing=magnified,
    ),
    Sample(
        "03_cr_monochrome1_implicit",
        "training",
        "Phantom^Three",
        (432, 352),
        bits_stored=10,
        monochrome1=True,
        transfer_syntax=ImplicitVRLittleEndian,
        keywords=CR,
    ),
    Sample(
        "04_dx_padding_rle",
        "training",
        "Phantom^Four",
        (400, 496),
        transfer_syntax=RLELossless,
        keywords={"PixelPaddingValue": 0},
        alter=padded,
    ),
    Sample(
        "05_capture_deflated",
        "validation",
        "Phantom^Five",
        (384, 384),
        bits_stored=8,
        transfer_syntax=DeflatedExplicitVRLittleEndian,
        spacing=no_spacing,
        keywords=CAPTURE,
    ),
    Sample(
        "06_cr_window_jpegls",
        "test",
        "Phantom^Six",
        (512, 448),
        bits_stored=16,
        transfer_syntax=JPEGLSLossless,
        # lower_third() puts 0 to 1 at 0.1 to 0.433 of the 65535 that 16 bits hold.
        keywords={**CR, "WindowCenter": 17476, "WindowWidth": 21846},
        alter=lower_third,
    ),
    Sample(
        "07_dx_shutter_jpeg_lossless",
        "test",
        "Phantom^Seven",
        (400, 528),
        transfer_syntax=JPEGLosslessSV1,
        keywords={
            "ShutterShape": "RECTANGULAR",
            "ShutterLeftVerticalEdge": 9,
            "ShutterRightVerticalEdge": 520,
            "ShutterUpperHorizontalEdge": 7,
            "ShutterLowerHorizontalEdge": 394,
            "ShutterPresentationValue": 0,
        },
    ),
)

LATERAL = Sample(
    "08_lateral",
    "turned_down",
    "Phantom^Eight",
    (352, 352),
    transfer_syntax=JPEGLSLossless,
    keywords={
        "ViewPosition": "LL",
        "ViewCodeSequence": [code_item(Code("399173006", "SCT", "left lateral"))],
        "PatientOrientation": ["A", "F"],
    },
)
REASONS = {LATERAL.stem: "a lateral view", "09_ct": "a CT slice, not a radiograph"}


def write_sample(folder: Path, sample: Sample, number: int) -> Item:
    """Write the image of a sample and, unless it is one to turn down, its mask."""
    phantom = make_phantom([SEED, number], shape=sample.shape)
    dataset = phantom_dataset(
        sample.alter(phantom.pixels),
        name=sample.name,
        number=number,
        entropy=["lungfield", "sample data", sample.stem],
        bits_stored=sample.bits_stored,
        monochrome1=sample.monochrome1,
        transfer_syntax=sample.transfer_syntax,
        **sample.spacing(phantom.spacing_mm),
        **sample.keywords,
    )
    image = f"{IMAGES}/{sample.stem}.dcm"
    write_dicom(folder / image, dataset)
    spacing = read_radiograph(folder / image, require_frontal=False).spacing
    item = Item(
        id=sample.stem,
        image=image,
        label=f"{LABELS}/{sample.stem}.png",
        dataset=DESCRIPTION.name,
        spacing_mm=(round(spacing.row_mm, 4), round(spacing.column_mm, 4)) if spacing else None,
    )
    if sample.section != "turned_down":
        write_png(folder / item.label, phantom.label_map)
    return item


def write_ct(folder: Path, number: int) -> Item:
    """Write a CT slice (DICOM PS3.3, section A.3) of an ellipse with two holes."""
    entropy = ["lungfield", "sample data", "09_ct"]
    dataset = phantom_dataset(
        np.zeros((96, 128), np.float32), name="Phantom^Nine", number=number, entropy=entropy
    )
    for keyword in (*DX_ONLY, "ViewPosition", "WindowCenter", "WindowWidth"):
        if keyword in dataset:
            del dataset[keyword]
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientOrientation = ["L", "P"]
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[*entropy, "FrameOfReferenceUID"])
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-190.5, -142.5, 0]
    dataset.PixelSpacing = [3, 3]
    dataset.SliceThickness = 5
    dataset.KVP = 120
    dataset.AcquisitionNumber = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    add_pixels(dataset, ct_slice(), bits_stored=12)
    item = Item("09_ct", f"{IMAGES}/09_ct.dcm", "", DESCRIPTION.name)
    write_dicom(folder / item.image, dataset)
    return item


def ct_slice() -> NDArray[np.int64]:
    """(96, 128) Hounsfield units above -1024: air around soft tissue with two lungs in it."""
    rows, columns = np.mgrid[0:96, 0:128]
    body = ((rows - 48) / 38) ** 2 + ((columns - 64) / 58) ** 2 < 1
    lungs = ((rows - 46) / 24) ** 2 + ((np.abs(columns - 64) - 28) / 19) ** 2 < 1
    return np.where(lungs, 200, np.where(body, 1064, 24))


def turned_down(item: Item) -> dict[str, Any]:
    """The entry of a file that is to be turned down: no label, but the reason."""
    return {**asdict(item), "label": None, "reason": REASONS[item.id]}


def main(folder: Path) -> None:
    """Write the sample data into `folder`."""
    start_set(folder)
    sections: dict[str, list[Item]] = {"training": [], "validation": [], "test": []}
    for number, sample in enumerate(SAMPLES, start=1):
        sections[sample.section].append(write_sample(folder, sample, number))
    refused = [write_sample(folder, LATERAL, 8), write_ct(folder, 9)]
    finish_set(
        folder,
        DESCRIPTION,
        sections,
        label_values=label_values(lung.value for lung in LUNGS),
        split={"method": "by hand", "seed": None},
        turned_down=[turned_down(item) for item in refused],
    )


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "sample_data"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
