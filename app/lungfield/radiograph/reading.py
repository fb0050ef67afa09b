"""`read_radiograph`: read a `Radiograph` from a file or from memory, in any supported format."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from lungfield.errors import LungfieldError, Reason, UnreadableError
from lungfield.formats import MAGIC, has_preamble
from lungfield.radiograph.codestream import JPEG_2000_START
from lungfield.radiograph.content import File, path_of
from lungfield.radiograph.dicom import read_dicom
from lungfield.radiograph.images import read_image
from lungfield.radiograph.limits import DEFAULT_LIMITS, Limits
from lungfield.radiograph.memory import content_of, read_in_memory, with_properties
from lungfield.radiograph.nifti import HEADER_BYTES, is_nifti, read_nifti
from lungfield.radiograph.streams import GZIP_MAGIC, is_gzipped_dicom
from lungfield.records import Radiograph

IMAGE_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    JPEG_2000_START: "JPEG 2000",
    b"BM": "BMP",
    b"GIF8": "GIF",
}
WEBP_MAGIC = (b"RIFF", b"WEBP")
ARCHIVE_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ\0", b"BZh")
"""The magic bytes of zip, 7z, rar, xz and bzip2."""
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
BARE_DICOM_STARTS = (b"\x02\0", b"\x08\0", b"\0\x08")
"""The group of the first element of a data set without preamble: 0002 or 0008."""
_DAMAGED = "damaged, or of a kind that is not supported"


def read_radiograph(
    source: Any,
    *,
    require_frontal: bool = True,
    limits: Limits = DEFAULT_LIMITS,
    spacing_mm: float | tuple[float, float] | None = None,
    orientation: Sequence[str] | None = None,
    inverted: bool | None = None,
) -> Radiograph:
    """Read a radiograph from a file or from memory, upright and with dark lungs.

    The format is detected from the content, not from the name: DICOM (with or without preamble, gzipped or
    not), PNG, JPEG, TIFF, JPEG 2000, WebP, BMP, GIF, NIfTI (gzipped or not, or a pair of files).

    An array has rows from the head to the feet, columns from the patient's right to the left, and dark lungs,
    unless `orientation` and `inverted` are given. If neither the file nor the caller gives orientation or
    polarity, they are corrected later if the mask does not look like lungs (`lungfield.correction`). Arrays
    that MONAI's `LoadImage` loads are transposed: give `image[0].T`.

    Args:
        source: the path of a regular file that does not change during reading; bytes or an open binary file;
            a `pydicom.Dataset` with pixels; a Pillow image; or a numpy array or torch tensor, (H, W),
            (C, H, W) or (H, W, C) with 1, 3 or 4 channels, in grey. 8-bit values are divided by 255, others
            are stretched over their range.
        require_frontal: raise an error for an image whose DICOM header names another view or body part than
            a frontal chest. Objects that are no radiographs (SEG, SR, CT) and cines always raise one.
        limits: on the size of files and pictures.
        spacing_mm: pixel spacing in mm, or a pair of row and column spacing of the stored pixels; replaces
            the file's spacing.
        orientation: directions of rows and columns, as in PatientOrientation: ('L', 'F') for an upright
            picture; replaces the file's orientation.
        inverted: True if the lungs would otherwise be read bright, False if they are known to be dark, None
            if not known.

    Returns:
        The radiograph, with pixels (H, W) float32 in [0, 1].

    Raises:
        DataError: `spacing_mm` or `orientation` is invalid.
        NotFrontalChestError: the source is readable but no frontal chest radiograph.
        UnreadableError: the file is damaged, unsupported, over a limit, inaccessible, or changed during
            reading; or the source is no picture. Reading a file raises no other errors; the `reason` of both
            errors is a code.
    """
    if isinstance(source, Radiograph):
        radiograph = source
    elif isinstance(source, (str, os.PathLike)):
        if "://" in os.fspath(source):  # not shown whole: it may hold a password or a signature
            scheme = str(source).partition("://")[0]
            raise UnreadableError(
                f"{scheme}://... is a URI, not the path of a file: fetch the file first, and give its path, "
                "its bytes or the open file.",
                reason=Reason.INACCESSIBLE,
            )
        path = Path(source)
        try:
            with _unchanged(path) as status:
                if not stat.S_ISREG(status.st_mode):
                    raise UnreadableError("not a regular file", reason=Reason.INACCESSIBLE)
                radiograph = _read(path, status.st_size, require_frontal=require_frontal, limits=limits)
        except Exception as error:
            raise _explained(path, error) from error
    else:
        radiograph = _read_memory(source, require_frontal=require_frontal, limits=limits)
    return with_properties(radiograph, spacing_mm=spacing_mm, orientation=orientation, inverted=inverted)


def _read_memory(source: Any, *, require_frontal: bool, limits: Limits) -> Radiograph:
    name = Path(type(source).__name__)
    try:
        file = content_of(source, limits)
        if file is None:
            return read_in_memory(source, limits)
        name = path_of(file)
        return _read(file, len(file.content), require_frontal=require_frontal, limits=limits)
    except Exception as error:
        raise _explained(name, error) from error


def _read(file: File, size: int, *, require_frontal: bool, limits: Limits) -> Radiograph:
    limits.check_file_bytes(size)
    if has_preamble(file):
        return read_dicom(file, require_frontal=require_frontal, limits=limits)
    with file.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    for magic, file_format in IMAGE_MAGIC.items():
        if head.startswith(magic):
            return read_image(file, file_format=file_format, limits=limits)
    if (head[:4], head[8:12]) == WEBP_MAGIC:
        return read_image(file, file_format="WebP", limits=limits)
    if is_nifti(file, head):
        return read_nifti(file, limits=limits)
    gzipped_dicom = head.startswith(GZIP_MAGIC) and is_gzipped_dicom(file)
    if gzipped_dicom or head.startswith((MAGIC, *BARE_DICOM_STARTS)):
        return read_dicom(file, require_frontal=require_frontal, limits=limits)
    if head.startswith(ARCHIVE_MAGIC) or head[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
        raise UnreadableError("an archive; unpack it, and give the folder", reason=Reason.UNSUPPORTED)
    raise UnreadableError("neither DICOM, NIfTI nor a known picture format", reason=Reason.UNKNOWN_FORMAT)


@contextmanager
def _unchanged(path: Path) -> Iterator[os.stat_result]:
    """Compare a file before and after reading, so that a file that is being copied is not called damaged.

    Raises:
        UnreadableError: the file changed; this replaces any other error of the block.
        FileNotFoundError: the file does not exist or was removed.
    """
    before = path.stat()
    try:
        yield before
    except Exception:
        _require_same(before, path.stat())
        raise
    _require_same(before, path.stat())


def _require_same(before: os.stat_result, after: os.stat_result) -> None:
    identity = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns")
    if identity(before) != identity(after):
        raise UnreadableError(
            "the file changed while it was read; try again once it is complete", reason=Reason.CHANGED
        )


def _explained(path: Path, error: Exception) -> LungfieldError:
    """The error to raise for an exception during reading: with path and code, without header values."""
    match error:
        case LungfieldError():
            return type(error)(f"{path}: {error}", reason=error.reason)
        case MemoryError() | OSError(errno=errno.ENOMEM):
            reason, message = Reason.OUT_OF_MEMORY, "there is not enough memory to read it"
        # For bad content, libraries raise OSError without errno, or seek to an invalid position.
        case OSError(errno=None | errno.EINVAL):
            reason, message = Reason.DAMAGED, f"the file cannot be read ({_DAMAGED})"
        case OSError():
            reason, message = Reason.INACCESSIBLE, f"the file cannot be read ({error.strerror})"
        case RecursionError():
            reason, message = Reason.DAMAGED, "sequences are nested too deeply; the file is damaged"
        case NotImplementedError():
            reason, message = Reason.UNSUPPORTED, "nothing here can decode it; convert the file first"
        case _:  # a library's message may quote the header, so only the exception's name is shown
            reason, message = Reason.DAMAGED, f"{_DAMAGED} ({type(error).__name__})"
    return UnreadableError(f"{path}: {message}", reason=reason)
