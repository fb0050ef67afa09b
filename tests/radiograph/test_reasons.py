"""Every code that reading can give, and that a file which changes meanwhile is told from a damaged one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid

from lungfield.errors import LungfieldError, NotFrontalChestError, Reason, UnreadableError
from lungfield.radiograph import Limits, read_radiograph, reading
from phantoms import make_phantom

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

SKIPPED = {
    Reason.OTHER_OBJECT,
    Reason.OTHER_BODY_PART,
    Reason.OTHER_VIEW,
    Reason.SEVERAL_FRAMES,
    Reason.LABEL_MAP,
}
NOT_OF_READING = {Reason.CRASHED, Reason.TIMED_OUT, Reason.NOT_WRITTEN, Reason.INTERNAL}
"""Given by what calls the reader: see the engine's tests."""

FLAT = np.full((96, 80), 1000, dtype=np.uint16)
HEADERS: dict[str, tuple[Reason, dict[str, Any]]] = {
    "segmentation": (Reason.OTHER_OBJECT, {"SOPClassUID": uid.SegmentationStorage, "Modality": "SEG"}),
    "modality": (Reason.OTHER_OBJECT, {"Modality": "CT"}),
    "animal": (Reason.OTHER_OBJECT, {"PatientSpeciesDescription": "Canine"}),
    "hand": (Reason.OTHER_BODY_PART, {"BodyPartExamined": "HAND"}),
    "lateral": (Reason.OTHER_VIEW, {"ViewPosition": "LL"}),
    "rows missing": (Reason.DAMAGED, {"Rows": None}),
    "no pixels": (Reason.DAMAGED, {"PixelData": b""}),
    "short pixels": (Reason.DAMAGED, {"PixelData": b"\0" * 100}),
    "65535 rows": (Reason.OVER_LIMIT, {"Rows": 65535, "Columns": 65535}),
    "63 rows": (Reason.TOO_SMALL, {"Rows": 63}),
    "eleven bits allocated": (Reason.DAMAGED, {"BitsAllocated": 11}),
}


def code(path: Path, **options: Any) -> Reason:
    with pytest.raises(LungfieldError) as caught:
        read_radiograph(path, **options)
    assert isinstance(
        caught.value, NotFrontalChestError if caught.value.reason in SKIPPED else UnreadableError
    )
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.reason


@pytest.mark.parametrize("name", HEADERS)
def test_dicom_headers(name: str, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    reason, keywords = HEADERS[name]
    assert code(make_dicom(tmp_path / "a.dcm", picture, **keywords)) == reason


def _cine(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    return make_dicom(folder / "a", np.stack([picture] * 3))


def _uniform(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    return make_dicom(folder / "a", FLAT)


def _video(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    path = make_dicom(folder / "a", picture, transfer_syntax=uid.JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    dataset.save_as(path)
    return path


def _colour(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    grey = (picture >> 4).astype(np.uint8)
    Image.fromarray(np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)).save(folder / "a.png")
    return folder / "a.png"


def _pages(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    page = Image.fromarray(picture)
    page.save(folder / "a.tif", save_all=True, append_images=[page])
    return folder / "a.tif"


def _truncated_png(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    Image.fromarray(picture).save(folder / "a.png")
    os.truncate(folder / "a.png", (folder / "a.png").stat().st_size // 2)
    return folder / "a.png"


def _png_of_many_pixels(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    Image.new("1", (40_000, 10_000)).save(folder / "a.png")
    return folder / "a.png"


def _volume(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.stack([picture] * 3, axis=-1), np.eye(4)), folder / "a.nii")
    return folder / "a.nii"


def _line(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    nibabel.save(nibabel.Nifti1Image(picture[:1], np.eye(4)), folder / "a.nii")
    return folder / "a.nii"


def _complex_numbers(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    nibabel.save(nibabel.Nifti1Image(picture.astype(np.complex64), np.eye(4)), folder / "a.nii")
    return folder / "a.nii"


def _short_nifti(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    nibabel.save(nibabel.Nifti1Image(picture, np.eye(4)), folder / "a.nii")
    os.truncate(folder / "a.nii", 5000)
    return folder / "a.nii"


def _text(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    (folder / "a.dcm").write_text("This is no radiograph.\n" * 100)
    return folder / "a.dcm"


def _empty(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    (folder / "a.dcm").touch()
    return folder / "a.dcm"


def _pipe(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    os.mkfifo(folder / "a.dcm")
    return folder / "a.dcm"


def _nowhere(folder: Path, picture: NDArray[np.uint16], make_dicom: Any) -> Path:
    return folder / "a.dcm"


FILES: dict[Callable[..., Path], Reason] = {
    _cine: Reason.SEVERAL_FRAMES,
    _pages: Reason.SEVERAL_FRAMES,
    _volume: Reason.SEVERAL_FRAMES,
    _colour: Reason.OTHER_OBJECT,
    _uniform: Reason.UNIFORM,
    _video: Reason.UNSUPPORTED,
    _complex_numbers: Reason.UNSUPPORTED,
    _truncated_png: Reason.DAMAGED,
    _short_nifti: Reason.DAMAGED,
    _empty: Reason.DAMAGED,
    _png_of_many_pixels: Reason.OVER_LIMIT,
    _line: Reason.TOO_SMALL,
    _text: Reason.UNKNOWN_FORMAT,
    _pipe: Reason.INACCESSIBLE,
    _nowhere: Reason.INACCESSIBLE,
}


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_files(
    make: Callable[..., Path], picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    assert code(make(tmp_path, picture, make_dicom)) == FILES[make]


def test_a_file_over_the_limit(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture)
    assert code(path, limits=Limits(max_file_bytes=1000)) == Reason.OVER_LIMIT


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2), (0, 255), (0, 128, 255), (0, 85, 170, 255), (7, 99)])
@pytest.mark.parametrize("kind", ["png", "tif", "palette", "dicom", "nifti"])
def test_a_picture_of_few_values_is_a_label_map(
    values: tuple[int, ...], kind: str, make_dicom: Any, tmp_path: Path
) -> None:
    array = np.array(values, dtype=np.uint8)[np.arange(96)[:, None] * np.ones(80, int) % len(values)]
    path = tmp_path / f"a.{kind}"
    match kind:
        case "dicom":
            make_dicom(path, array.astype(np.uint16))
        case "nifti":
            path = tmp_path / "a.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array.T[..., None].astype(np.float32), np.eye(4)), path)
        case "palette":
            path = tmp_path / "a.png"
            picture = Image.fromarray(array, "P")
            picture.putpalette([level for value in range(256) for level in (value,) * 3])
            picture.save(path)
        case _:
            Image.fromarray(array).save(path)
    assert code(path) == Reason.LABEL_MAP


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("values", [(0, 255), (255, 0), (40, 200)])
def test_a_mask_that_was_saved_as_jpeg(quality: int, values: tuple[int, int], tmp_path: Path) -> None:
    labels = np.asarray(Image.open(Path(__file__).parents[2] / "sample_data/labels/05_capture_deflated.png"))
    Image.fromarray(np.where(labels > 0, *values).astype(np.uint8)).save(tmp_path / "a.jpg", quality=quality)
    assert code(tmp_path / "a.jpg") == Reason.LABEL_MAP


def test_a_radiograph_of_high_contrast_is_no_mask(tmp_path: Path) -> None:
    picture = make_phantom(3, shape=(256, 256)).pixels
    hard = np.clip((picture - 0.5) * 3 + 0.5, 0, 1)
    assert np.mean((hard <= 0) | (hard >= 1)) > 0.5
    Image.fromarray((255 * hard).astype(np.uint8)).save(tmp_path / "a.jpg", quality=90)
    read_radiograph(tmp_path / "a.jpg")


ERRORS = [
    (MemoryError(), Reason.OUT_OF_MEMORY),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), Reason.OUT_OF_MEMORY),
    (PermissionError(errno.EACCES, "Permission denied"), Reason.INACCESSIBLE),
    (OSError(errno.EIO, "Input/output error"), Reason.INACCESSIBLE),
    (OSError(errno.EINVAL, "Invalid argument"), Reason.DAMAGED),
    (OSError("image file is truncated"), Reason.DAMAGED),
    (EOFError("secret-4711"), Reason.DAMAGED),
    (ValueError("secret-4711"), Reason.DAMAGED),
    (RecursionError(), Reason.DAMAGED),
    (NotImplementedError("secret-4711"), Reason.UNSUPPORTED),
]


@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=repr)
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLSLossless])
def test_errors_of_libraries_get_a_code_and_their_messages_are_not_passed_on(
    error: Exception,
    reason: Reason,
    syntax: uid.UID,
    picture: NDArray[np.uint16],
    make_dicom: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=syntax)
    monkeypatch.setattr("lungfield.radiograph.dicom.dcmread", fail)
    with pytest.raises(UnreadableError) as caught:
        read_radiograph(path)
    assert caught.value.reason == reason
    assert "4711" not in str(caught.value)


def test_too_little_memory_for_the_pixels_is_no_damage(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    path = make_dicom(tmp_path / "a.dcm", picture)
    monkeypatch.setattr("lungfield.radiograph.decoding.get_decoder", fail)
    assert code(path) == Reason.OUT_OF_MEMORY


def _touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _append(path: Path) -> None:
    before = path.stat()
    with path.open("ab") as stream:
        stream.write(b"more")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_touch, Reason.CHANGED),
        (_append, Reason.CHANGED),
        (_replace, Reason.CHANGED),
        (Path.unlink, Reason.INACCESSIBLE),
    ],
)
def test_a_file_that_changes_or_vanishes_while_it_is_read(
    change: Callable[[Path], None],
    reason: Reason,
    damaged: bool,
    picture: NDArray[np.uint16],
    make_dicom: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture)
    if damaged:
        os.truncate(path, path.stat().st_size - 1000)
    read = reading.read_dicom

    def read_while_it_changes(*arguments: Any, **options: Any) -> Any:
        change(path)
        return read(*arguments, **options)

    monkeypatch.setattr(reading, "read_dicom", read_while_it_changes)
    assert code(path) == reason


def test_every_code_is_met_here_or_is_none_of_reading() -> None:
    met = {reason for reason, _ in HEADERS.values()} | set(FILES.values()) | {reason for _, reason in ERRORS}
    assert met | {Reason.CHANGED, Reason.LABEL_MAP} | NOT_OF_READING == set(Reason)
    assert not met & NOT_OF_READING


def test_every_code_is_described() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    assert [row[0].strip(" `") for row in rows] == [reason.value for reason in Reason]
    assert all(len(cell.strip()) > 10 for row in rows for cell in row[1:])
