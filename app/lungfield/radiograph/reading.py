"""The one way in: from a path to a `Radiograph`, whatever the format."""

from __future__ import annotations

import stat
from pathlib import Path

from lungfield.errors import LungfieldError, UnreadableError
from lungfield.radiograph.dicom import has_preamble, read_dicom
from lungfield.radiograph.images import read_image
from lungfield.radiograph.limits import DEFAULT_LIMITS, Limits
from lungfield.radiograph.nifti import HEADER_BYTES, is_nifti, read_nifti
from lungfield.records import Radiograph

IMAGE_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
BARE_DICOM_STARTS = (b"\x02\0", b"\x08\0", b"\0\x08")
"""The group of the first element of a data set without preamble: 0002 or 0008."""
_DAMAGED = "damaged, or of a kind that is not supported"


def read_radiograph(
    path: Path, *, require_frontal: bool = True, limits: Limits = DEFAULT_LIMITS
) -> Radiograph:
    """Return the radiograph in a file, pixels where they are stored, lungs dark.

    The format is told by the content, not by the name: DICOM with or without preamble, PNG, JPEG, TIFF,
    NIfTI (gzipped or not).

    Args:
        path: a regular file.
        require_frontal: turn down an image whose DICOM header says that it is no frontal view of the
            chest. Objects that are no radiographs at all (SEG, SR, CT) and cines are always turned down.
        limits: what is too large or too small to be read.

    Raises:
        NotFrontalChestError: a readable file that is not a frontal chest radiograph.
        UnreadableError: a file that is damaged, unsupported, or over a limit.
    """
    path = Path(path)
    try:
        return _read(path, require_frontal=require_frontal, limits=limits)
    except LungfieldError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise UnreadableError(f"{path}: the file cannot be read ({error.strerror or _DAMAGED})") from error
    except MemoryError as error:
        raise UnreadableError(f"{path}: there is not enough memory to read it") from error
    except RecursionError as error:
        raise UnreadableError(f"{path}: sequences are nested too deeply; the file is damaged") from error
    except Exception as error:  # a library's message may quote the header, so only its kind is told
        raise UnreadableError(f"{path}: {_DAMAGED} ({type(error).__name__})") from error


def _read(path: Path, *, require_frontal: bool, limits: Limits) -> Radiograph:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("not a regular file")
    limits.check_file_bytes(status.st_size)
    if has_preamble(path):
        return read_dicom(path, require_frontal=require_frontal, limits=limits)
    with path.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    for magic, file_format in IMAGE_MAGIC.items():
        if head.startswith(magic):
            return read_image(path, file_format=file_format, limits=limits)
    if is_nifti(path, head):
        return read_nifti(path, limits=limits)
    if head.startswith(BARE_DICOM_STARTS):
        return read_dicom(path, require_frontal=require_frontal, limits=limits)
    raise UnreadableError("neither DICOM, PNG, JPEG, TIFF nor NIfTI")
