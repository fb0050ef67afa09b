"""Phantoms as DICOM files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    generate_uid,
)

from lungfield.atomic import write_whole
from lungfield.labels import CHEST, Code

# ImplementationClassUID of the files, so that their bytes do not depend on the version of pydicom.
_IMPLEMENTATION_UID = generate_uid(entropy_srcs=["lungfield", "phantoms"])
_PA_VIEW = Code("272479007", "SCT", "postero-anterior")


def phantom_dataset(
    pixels: NDArray[np.float32],
    *,
    name: str,
    number: int,
    entropy: Sequence[str],
    bits_stored: int = 12,
    monochrome1: bool = False,
    transfer_syntax: UID = ExplicitVRLittleEndian,
    **keywords: Any,
) -> Dataset:
    """Build the data set of a phantom: a Digital X-Ray Image (DICOM PS3.3, section A.26) of its own patient.

    Args:
        pixels: (H, W) in [0, 1], lungs dark.
        name: PatientName.
        number: of the phantom, in PatientID and StudyID.
        entropy: texts from which the UIDs are derived; the same texts give the same UIDs.
        bits_stored: bits per pixel, 8 to 16; [0, 1] is scaled to their range.
        monochrome1: store inverted values, as MONOCHROME1.
        transfer_syntax: of the pixels.
        **keywords: further attributes by DICOM keyword, which override those set here; None omits one.
    """
    dataset = Dataset()
    _add_patient_and_study(dataset, name, number, entropy)
    _add_digital_x_ray(dataset)
    highest = 2**bits_stored - 1
    dataset.WindowCenter, dataset.WindowWidth = (highest + 1) / 2, highest + 1
    dataset.PresentationLUTShape = "INVERSE" if monochrome1 else "IDENTITY"
    for keyword, value in keywords.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    stored = np.rint((1 - pixels if monochrome1 else pixels) * highest)
    add_pixels(dataset, stored, bits_stored=bits_stored, transfer_syntax=transfer_syntax)
    dataset.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    return dataset


def add_pixels(
    dataset: Dataset, stored: NDArray[Any], *, bits_stored: int, transfer_syntax: UID = ExplicitVRLittleEndian
) -> None:
    """Add the Image Pixel module (DICOM PS3.3, section C.7.6.3) and the file meta information.

    Args:
        dataset: with SOPClassUID and SOPInstanceUID; added to.
        stored: (H, W) non-negative integers.
        bits_stored: bits per pixel, 8 to 16.
        transfer_syntax: one that pydicom can write, or JPEG Lossless.
    """
    pixels = stored.astype(np.uint8 if bits_stored == 8 else np.uint16)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored, dataset.HighBit = bits_stored, bits_stored - 1
    dataset.PixelRepresentation = 0
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    meta.ImplementationVersionName = "LUNGFIELD"
    dataset.file_meta = meta
    if not transfer_syntax.is_compressed or transfer_syntax.is_deflated:
        dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    elif transfer_syntax == JPEGLosslessSV1:
        # pydicom reads this syntax but has no encoder for it.
        import imagecodecs

        stream = imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits_stored)
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
    else:
        dataset.compress(transfer_syntax, pixels, generate_instance_uid=False)


def write_dicom(path: Path, dataset: Dataset) -> None:
    """Write a data set with its file meta information (DICOM PS3.10).

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    write_whole(path, buffer.getvalue())


def _add_patient_and_study(dataset: Dataset, name: str, number: int, entropy: Sequence[str]) -> None:
    for level in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, level, generate_uid(entropy_srcs=[*entropy, level]))
    dataset.PatientName = name
    dataset.PatientID = f"PHANTOM-{number:04d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDate = "20260101"
    dataset.StudyTime = dataset.ContentTime = dataset.AcquisitionTime = "120000"
    dataset.StudyID = str(number)
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Manufacturer = "lungfield"
    dataset.ManufacturerModelName = "phantom"
    dataset.StudyDescription = "Synthetic chest radiograph"


def _add_digital_x_ray(dataset: Dataset) -> None:
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BodyPartExamined = "CHEST"
    dataset.AnatomicRegionSequence = [code_item(CHEST)]
    dataset.ImageLaterality = "U"
    dataset.PatientOrientation = ["L", "F"]
    dataset.ViewPosition = "PA"
    dataset.ViewCodeSequence = [code_item(_PA_VIEW)]
    dataset.DetectorType = "DIRECT"
    dataset.PositionerType = ""
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionContextSequence = []


def code_item(code: Code) -> Dataset:
    """A code as an item of a code sequence (DICOM PS3.3, section 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item
