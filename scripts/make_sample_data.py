"""Make the synthetic sample data that ship with lungfield: `python scripts/make_sample_data.py [FOLDER]`.

Seven phantoms as DICOM files with different headers and encodings, their exact masks, and two files that
must be refused. FOLDER, by default sample_data, must not contain them already. With the same versions of the
libraries, the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from pydicom import uid

from lungfield.datasets import layout
from lungfield.labels import CLAVICLES, HEART, LUNGS, Code
from lungfield.radiograph import read_radiograph
from phantoms import code_item, make_phantom, phantom_dataset, write_dicom

ROOT = Path(__file__).resolve().parents[1]
SEED = 2026
DESCRIPTION = layout.SetDescription(
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
CR = {**DX_ONLY, "SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR"}
CAPTURE = {
    **DX_ONLY,
    **dict.fromkeys(("AcquisitionDate", "AcquisitionTime", "ViewPosition", "WindowCenter", "WindowWidth")),
    **dict.fromkeys(("RescaleIntercept", "RescaleSlope", "RescaleType", "ImagerPixelSpacing")),
    "SOPClassUID": uid.SecondaryCaptureImageStorage,
    "Modality": "DX",
    "ConversionType": "WSD",
    "ImageType": ["DERIVED", "SECONDARY"],
}


@dataclass(frozen=True)
class Sample:
    """A sample file, with the stem of its file name, its section of the data list, and PatientName.

    Attributes:
        shape: (rows, columns).
        spacing: makes the attributes of the pixel spacing from the spacing in mm.
        keywords: further attributes; None leaves one out.
        alter: changes the pixels before they are stored.
    """

    stem: str
    section: str
    name: str
    shape: tuple[int, int]
    bits_stored: int = 12
    monochrome1: bool = False
    transfer_syntax: uid.UID = uid.ExplicitVRLittleEndian
    spacing: Callable[[float], dict[str, Any]] = lambda mm: {"ImagerPixelSpacing": [mm, mm]}
    keywords: dict[str, Any] = field(default_factory=dict)
    alter: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda pixels: pixels


def calibrated(spacing_mm: float) -> dict[str, Any]:
    """The spacing on the detector, and that in the patient."""
    in_patient = round(spacing_mm / 1.08, 4)
    return {
        "ImagerPixelSpacing": [spacing_mm, spacing_mm],
        "PixelSpacing": [in_patient, in_patient],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "chest at 8 % magnification",
    }


def lower_third(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Use a third of the range only, as raw detectors do; a window then gives the range of the picture."""
    return 0.1 + pixels / 3


def padded(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill 12 columns at either side with the padding value 0, which the picture itself does not contain."""
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
        transfer_syntax=uid.JPEG2000Lossless,
        keywords={
            "EstimatedRadiographicMagnificationFactor": 1.1,
            "DistanceSourceToDetector": 1800.0,
            "DistanceSourceToPatient": 1636.4,
        },
    ),
    Sample(
        "03_cr_monochrome1_implicit",
        "training",
        "Phantom^Three",
        (432, 352),
        bits_stored=10,
        monochrome1=True,
        transfer_syntax=uid.ImplicitVRLittleEndian,
        keywords=CR,
    ),
    Sample(
        "04_dx_padding_rle",
        "training",
        "Phantom^Four",
        (400, 496),
        transfer_syntax=uid.RLELossless,
        keywords={"PixelPaddingValue": 0},
        alter=padded,
    ),
    Sample(
        "05_capture_deflated",
        "validation",
        "Phantom^Five",
        (384, 384),
        bits_stored=8,
        transfer_syntax=uid.DeflatedExplicitVRLittleEndian,
        keywords=CAPTURE,
    ),
    Sample(
        "06_cr_window_jpegls",
        "test",
        "Phantom^Six",
        (512, 448),
        bits_stored=16,
        transfer_syntax=uid.JPEGLSLossless,
        # lower_third() puts 0 to 1 at 0.1 to 0.433 of the 65535 that 16 bits hold.
        keywords={**CR, "WindowCenter": 17476, "WindowWidth": 21846},
        alter=lower_third,
    ),
    Sample(
        "07_dx_shutter_jpeg_lossless",
        "test",
        "Phantom^Seven",
        (400, 528),
        transfer_syntax=uid.JPEGLosslessSV1,
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
    transfer_syntax=uid.JPEGLSLossless,
    keywords={
        "ViewPosition": "LL",
        "ViewCodeSequence": [code_item(Code("399173006", "SCT", "left lateral"))],
        "PatientOrientation": ["A", "F"],
    },
)
REASONS = {LATERAL.stem: "a lateral view", "09_ct": "a CT slice, not a radiograph"}


def write_sample(folder: Path, sample: Sample, number: int) -> layout.Item:
    """Write the image of a sample and, unless it is to be refused, its mask."""
    phantom = make_phantom([SEED, number], shape=sample.shape)
    dataset = phantom_dataset(
        sample.alter(phantom.pixels),
        name=sample.name,
        number=number,
        entropy=["lungfield", "sample data", sample.stem],
        bits_stored=sample.bits_stored,
        monochrome1=sample.monochrome1,
        transfer_syntax=sample.transfer_syntax,
        **{**sample.spacing(phantom.spacing_mm), **sample.keywords},
    )
    image = f"{layout.IMAGES}/{sample.stem}.dcm"
    write_dicom(folder / image, dataset)
    spacing = read_radiograph(folder / image, require_frontal=False).spacing
    item = layout.Item(
        id=sample.stem,
        image=image,
        label=f"{layout.LABELS}/{sample.stem}.png",
        dataset=DESCRIPTION.name,
        spacing_mm=(round(spacing.row_mm, 4), round(spacing.column_mm, 4)) if spacing else None,
    )
    if sample.section == "turned_down":
        return item
    layout.write_png(folder / item.label, phantom.label_map)
    return replace(item, structures=layout.write_structures(folder, sample.stem, phantom.structures))


def write_ct(folder: Path, number: int) -> layout.Item:
    """Write a CT slice (DICOM PS3.3, section A.3) of an ellipse with two holes."""
    entropy = ["lungfield", "sample data", "09_ct"]
    dataset = phantom_dataset(
        ct_slice() / 4095,
        name="Phantom^Nine",
        number=number,
        entropy=entropy,
        **{
            **DX_ONLY,
            **dict.fromkeys(("ViewPosition", "WindowCenter", "WindowWidth")),
            "SOPClassUID": uid.CTImageStorage,
            "Modality": "CT",
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "PatientOrientation": ["L", "P"],
            "PatientPosition": "HFS",
            "FrameOfReferenceUID": uid.generate_uid(entropy_srcs=[*entropy, "FrameOfReferenceUID"]),
            "PositionReferenceIndicator": "",
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [-190.5, -142.5, 0],
            "PixelSpacing": [3, 3],
            "SliceThickness": 5,
            "KVP": 120,
            "AcquisitionNumber": 1,
            "RescaleIntercept": -1024,
            "RescaleSlope": 1,
            "RescaleType": "HU",
        },
    )
    item = layout.Item("09_ct", f"{layout.IMAGES}/09_ct.dcm", "", DESCRIPTION.name)
    write_dicom(folder / item.image, dataset)
    return item


def ct_slice() -> NDArray[np.int64]:
    """(96, 128) Hounsfield units + 1024: air, soft tissue and two lungs."""
    rows, columns = np.mgrid[0:96, 0:128]
    body = ((rows - 48) / 38) ** 2 + ((columns - 64) / 58) ** 2 < 1
    lungs = ((rows - 46) / 24) ** 2 + ((np.abs(columns - 64) - 28) / 19) ** 2 < 1
    return np.where(lungs, 200, np.where(body, 1064, 24))


def main(folder: Path = typer.Argument(ROOT / "sample_data", help="Where to.")) -> None:
    """Write the sample data into `folder`."""
    layout.start_set(folder, [label.name for label in (HEART, *CLAVICLES)])
    sections: dict[str, list[layout.Item]] = {"training": [], "validation": [], "test": []}
    for number, sample in enumerate(SAMPLES, start=1):
        sections[sample.section].append(write_sample(folder, sample, number))
    refused = [write_sample(folder, LATERAL, 8), write_ct(folder, 9)]
    layout.finish_set(
        folder,
        DESCRIPTION,
        sections,
        label_values=layout.label_values(lung.value for lung in LUNGS),
        split={"method": "by hand", "seed": None},
        turned_down=[{**item.entry(), "label": None, "reason": REASONS[item.id]} for item in refused],
    )


if __name__ == "__main__":
    typer.run(main)
