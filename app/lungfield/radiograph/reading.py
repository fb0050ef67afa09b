"""The one way in: from a file, or from what lies in memory, to a `Radiograph`, whatever the format."""

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
from lungfield.radiograph.memory import as_told, content_of, read_in_memory
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
"""Of zip, 7z, rar, xz and bzip2."""
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
    """Return the radiograph in a file, or in what lies in memory, upright, lungs dark.

    The format is told by the content, not by the name: DICOM (with or without preamble, gzipped or not),
    PNG, JPEG, TIFF, JPEG 2000, WebP, BMP, GIF, NIfTI (gzipped or not, or a pair of files).

    An array has rows from the head to the feet and columns from the patient's right to the left, lungs dark,
    unless `orientation` and `inverted` say otherwise. What is not told is found out by the mask where that is
    not one of lungs (`lungfield.correction`). Arrays that MONAI's `LoadImage` loads are transposed: give
    `image[0].T`.

    Args:
        source: the path of a regular file, which has to stay as it is while it is read; or bytes, or a binary
            file that is open; a `pydicom.Dataset` with its pixels; an image of Pillow; an array of numpy or a
            tensor of torch, (H, W), (1, H, W), (H, W, 1), or 3 or 4 channels of one colour. Numbers of 8 bits
            count from 0 to 255, others by their range.
        require_frontal: skip (with an error) an image whose DICOM header says that it is no frontal view
            of the chest. Objects that are no radiographs at all (SEG, SR, CT) and cines are always skipped.
        limits: what is too large or too small to be read.
        spacing_mm: distance of pixels in mm, or that of rows and of columns as they are stored; in the place
            of what the file says.
        orientation: where rows and columns run to, as in PatientOrientation: ('L', 'F') for an upright
            picture; likewise.
        inverted: True where the lungs are bright in what would be read otherwise, False where they are dark
            for sure. None: not known.

    Raises:
        DataError: `spacing_mm` or `orientation` is none.
        NotFrontalChestError: a readable file that is not a frontal chest radiograph.
        UnreadableError: a file that is damaged, unsupported, over a limit, out of reach, or that changed
            meanwhile, or what is no picture. Nothing else is raised for a file, and the `reason` of either
            error is its code.
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
    return as_told(radiograph, spacing_mm=spacing_mm, orientation=orientation, inverted=inverted)


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
        raise UnreadableError("an archive; unpack it, and name the folder", reason=Reason.UNSUPPORTED)
    raise UnreadableError("neither DICOM, NIfTI nor a picture that is known", reason=Reason.UNKNOWN_FORMAT)


@contextmanager
def _unchanged(path: Path) -> Iterator[os.stat_result]:
    """Look at a file before and after: one that is still being copied is not to be taken for a damaged one.

    Raises `UnreadableError` where it changed, whatever else went wrong with it meanwhile, and
    `FileNotFoundError` where it vanished.
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
    """The error to raise for any that reading met: with the path, a code, and nothing of the header."""
    match error:
        case LungfieldError():
            return type(error)(f"{path}: {error}", reason=error.reason)
        case MemoryError() | OSError(errno=errno.ENOMEM):
            reason, message = Reason.OUT_OF_MEMORY, "there is not enough memory to read it"
        # Libraries raise OSError without a number for content, and seek to where no file reaches.
        case OSError(errno=None | errno.EINVAL):
            reason, message = Reason.DAMAGED, f"the file cannot be read ({_DAMAGED})"
        case OSError():
            reason, message = Reason.INACCESSIBLE, f"the file cannot be read ({error.strerror})"
        case RecursionError():
            reason, message = Reason.DAMAGED, "sequences are nested too deeply; the file is damaged"
        case NotImplementedError():
            reason, message = Reason.UNSUPPORTED, "nothing here can decode it; convert the file first"
        case _:  # a library's message may quote the header, so only its kind is told
            reason, message = Reason.DAMAGED, f"{_DAMAGED} ({type(error).__name__})"
    return UnreadableError(f"{path}: {message}", reason=reason)
