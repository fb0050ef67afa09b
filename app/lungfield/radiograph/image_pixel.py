"""What a header says of its pixels: size, frames, samples and colours (DICOM PS3.3, C.7.6.3)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from lungfield.errors import Reason, UnreadableError
from lungfield.radiograph.limits import Limits

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
"""The transfer syntaxes of uncompressed pixels."""
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB")


def check_size(header: Dataset, limits: Limits) -> None:
    """Check rows, columns and frames of a header before its pixels are read.

    Raises:
        UnreadableError: they are missing or damaged, or over a limit.
    """
    try:
        rows, columns = int(header.Rows), int(header.Columns)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableError(
            "Rows (0028,0010) or Columns (0028,0011) is missing or damaged", reason=Reason.DAMAGED
        ) from error
    limits.check_shape(rows, columns, number_of_frames(header))


def number_of_frames(header: Dataset) -> int:
    """NumberOfFrames, 1 where it is absent or empty."""
    try:
        return max(int(header.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError) as error:
        raise UnreadableError("NumberOfFrames (0028,0008) is damaged", reason=Reason.DAMAGED) from error


def complete_photometric(dataset: Dataset) -> tuple[bool, tuple[str, ...]]:
    """Set PhotometricInterpretation and SamplesPerPixel where they are missing, unknown or at odds.

    Returns:
        Whether PhotometricInterpretation was as it should be, and remarks for the user.
    """
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    known = photometric in PHOTOMETRIC or photometric.startswith("YBR_")
    samples = dataset.get("SamplesPerPixel")
    if samples not in (1, 3):
        colour = known and (photometric == "RGB" or photometric.startswith("YBR_"))
        samples = dataset.SamplesPerPixel = 3 if colour else 1
    fitting = _samples_that_fit(dataset)
    if fitting and fitting != samples:
        samples = dataset.SamplesPerPixel = fitting
    grey = photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if known and grey == (samples == 1):
        dataset.PhotometricInterpretation = photometric
        return True, ()
    if samples == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    else:
        lossy = dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        dataset.PhotometricInterpretation = "YBR_FULL_422" if lossy else "RGB"
        if "PlanarConfiguration" not in dataset:
            dataset.PlanarConfiguration = 0
    return False, (
        "PhotometricInterpretation (0028,0004) is missing or wrong: the image is read as "
        f"{dataset.PhotometricInterpretation}.",
    )


def _samples_that_fit(dataset: Dataset) -> int:
    """The number of samples that uncompressed PixelData has by its length; 0 where that does not tell."""
    data, syntax = dataset.get("PixelData"), dataset.file_meta.TransferSyntaxUID
    if syntax not in NATIVE or not data:
        return 0
    one = dataset.Rows * dataset.Columns * int(dataset.get("BitsAllocated") or 0) // 8
    fitting = [samples for samples in (1, 3) if one and len(data) == samples * one + (samples * one) % 2]
    return fitting[0] if fitting else 0
