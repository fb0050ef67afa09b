"""The way from radiographs to results: the only file that joins the stages."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield import export
from lungfield.errors import DataError, HeaderError, LungfieldError, NotFrontalChestError, OutputError
from lungfield.inference import DEFAULT_BUNDLE, Bundle, find_bundle
from lungfield.inference.predictor import Predictor
from lungfield.mask import Agreement, Measurements, Summary, agreement, measure, read_mask, summarise
from lungfield.radiograph import InputFile, find_files, output_stems, read_radiograph, stem
from lungfield.records import Radiograph

#: How an input can end.
DONE, SKIPPED, FAILED = "done", "skipped", "failed"

logger = logging.getLogger(__name__)

_RESULT_FOLDERS = ("masks", "overlays", "seg")
_REFERENCE_SUFFIXES = (".nii.gz", ".nii", ".png", ".dcm", ".dicom", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Segmentation:
    """The lung fields of one radiograph.

    Attributes:
        radiograph: what was segmented.
        label_map: (H, W) uint8 on the file's own pixels: 0 background, 1 the patient's right lung, 2 left.
        bundle: what segmented it.
    """

    radiograph: Radiograph
    label_map: NDArray[np.uint8]
    bundle: Bundle

    @cached_property
    def measurements(self) -> Measurements:
        """Areas, heights and widths, in pixels and where the spacing is known in mm."""
        return measure(self.label_map, self.radiograph.spacing)

    def agreement(self, reference: str | Path | NDArray[np.generic]) -> Agreement:
        """Compare with a reference mask: (H, W) values that are not 0 on lung, or the path of a file.

        Raises:
            DataError: the file cannot be read, or its size is another.
        """
        mask = read_mask(Path(reference)) if isinstance(reference, (str, Path)) else reference
        return agreement(self.label_map, mask, spacing=self.radiograph.spacing)

    def save_mask(self, path: str | Path) -> None:
        """Write the label map as an 8-bit PNG or as NIfTI, as the name says: .png, .nii or .nii.gz.

        Raises:
            OutputError: the name has another suffix, or the file cannot be written.
        """
        name = str(path).lower()
        if name.endswith((".nii", ".nii.gz")):
            export.save_nifti(self.label_map, Path(path), self.radiograph.spacing)
        elif name.endswith(".png"):
            export.save_label_map_png(self.label_map, Path(path))
        else:
            raise OutputError(f"{path}: a mask is saved as .png, .nii or .nii.gz; for DICOM use save_seg.")

    def save_seg(self, path: str | Path, *, viewer_geometry: bool = False) -> None:
        """Write a DICOM SEG that refers to the radiograph, which must have come from DICOM."""
        export.save_dicom_seg(
            self.radiograph,
            self.label_map,
            Path(path),
            algorithm_name=f"lungfield {self.bundle.name}",
            algorithm_version=self.bundle.version,
            viewer_geometry=viewer_geometry,
        )

    def save_overlay(self, path: str | Path, *, longest_side: int = 1024) -> None:
        """Write a JPEG of the radiograph with the contours of the lungs."""
        export.save_overlay(self.radiograph, self.label_map, Path(path), longest_side=longest_side)


class Segmenter:
    """Segments radiographs with one bundle, loaded once.

    Args:
        bundle: the name of a shipped bundle, or the folder of any other. A bundle's config can run code:
            load only those that you trust.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...

    Raises:
        BundleError: there is no such bundle, it has no weights, or the device is not there.

    Examples:
        >>> segmenter = Segmenter("unet")
        >>> lungs = segmenter("chest.dcm")
        >>> lungs.measurements.total.area_mm2
        >>> lungs.save_mask("chest.png")
    """

    def __init__(self, bundle: str | Path = DEFAULT_BUNDLE, *, device: str = "auto") -> None:
        self.bundle = find_bundle(bundle)
        self._predictor = Predictor(self.bundle, device=device)

    def __call__(self, radiograph: str | Path | Radiograph) -> Segmentation:
        """Segment a file, or a radiograph that was read before.

        Raises:
            UnreadableError: the file cannot be read.
            NotFrontalChestError: it says that it is something else than a frontal chest radiograph.
        """
        if not isinstance(radiograph, Radiograph):
            radiograph = read_radiograph(Path(radiograph))
        return Segmentation(radiograph, self._predictor(radiograph), self.bundle)


@dataclass(frozen=True)
class FileResult:
    """How one input ended.

    Attributes:
        file: the input's place below the folder that was named; the same in all outputs.
        status: 'done', 'skipped' (readable, but no frontal chest radiograph) or 'failed'.
        reason: why it was not done; empty when it was.
        agreement: with the reference mask, where one was found.
        row: everything that the tables say of it.
    """

    file: str
    status: str
    reason: str = ""
    agreement: Agreement | None = None
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchResult:
    """How a batch ended.

    Attributes:
        files: one entry an input, in the order of the inputs.
        output: the folder of the results.
        seconds: how long it took, loading the bundle left out.
    """

    files: tuple[FileResult, ...]
    output: Path
    bundle: Bundle
    seconds: float

    def count(self, status: str) -> int:
        """How many files ended as `status`."""
        return Counter(file.status for file in self.files)[status]

    @cached_property
    def agreement(self) -> dict[str, Summary]:
        """Agreement with the references over all files that had one; empty where none had."""
        compared = [file.agreement for file in self.files if file.agreement is not None]
        return summarise(compared) if compared else {}

    def to_json(self) -> dict[str, Any]:
        """The summary that `results.json` and `--json` hold."""
        summary: dict[str, Any] = {
            "bundle": self.bundle.name,
            "bundle_version": self.bundle.version,
            "output": str(self.output),
            "files": len(self.files),
            **{status: self.count(status) for status in (DONE, SKIPPED, FAILED)},
            "seconds": round(self.seconds, 2),
            "compared": sum(file.agreement is not None for file in self.files),
        }
        if self.agreement:
            summary["agreement"] = {name: vars(figure) for name, figure in self.agreement.items()}
        return summary


def segment_files(
    inputs: Sequence[Path],
    output: Path,
    segmenter: Segmenter,
    *,
    references: Path | None = None,
    progress: Callable[[Iterable[InputFile]], Iterable[InputFile]] = iter,
) -> BatchResult:
    """Segment files and folders into `output`, whose sub-folders mirror the tree of the inputs.

    Written are masks/<stem>.png, overlays/<stem>.jpg, for DICOM seg/<stem>.dcm, and results.csv and
    results.json with one row an input. One bad file never ends the batch.

    Args:
        inputs: files and folders.
        output: folder of the results, made where missing.
        segmenter: does the work.
        references: folder of reference masks, matched by the inputs' names.
        progress: wraps the list of files while it is worked on, for a progress bar.

    Raises:
        DataError: an input or the folder of references does not exist, or there is no file in them.
        OutputError: the output folder cannot be written.
    """
    files = find_files(inputs, exclude=[output / name for name in _RESULT_FOLDERS])
    if not files:
        raise DataError(
            f"No DICOM, PNG, JPEG, TIFF or NIfTI file in {', '.join(map(str, inputs))}. "
            "Name files, or folders that hold some."
        )
    masks = find_references(references) if references else None
    _require_writable(output)

    start = time.perf_counter()
    stems = output_stems(files)
    results: list[FileResult] = []
    try:
        for file in progress(files):
            results.append(_segment_one(file, stems[file.path], output, segmenter, masks))  # noqa: PERF401
    finally:
        # What was done before an interrupt is told too.
        batch = BatchResult(tuple(results), output, segmenter.bundle, time.perf_counter() - start)
        export.write_results_csv([file.row for file in results], output / "results.csv")
        export.write_results_json(
            {"summary": batch.to_json(), "files": [file.row for file in results]}, output / "results.json"
        )
    return batch


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error


def _segment_one(
    file: InputFile,
    name: PurePath,
    output: Path,
    segmenter: Segmenter,
    references: Mapping[PurePath, list[Path]] | None,
) -> FileResult:
    """Read, segment and write one file; whatever is wrong with it becomes its result."""
    start = time.perf_counter()
    row: dict[str, Any] = {
        "file": file.relative.as_posix(),
        "status": DONE,
        "reason": "",
        "bundle": segmenter.bundle.name,
        "bundle_version": segmenter.bundle.version,
    }
    compared: Agreement | None = None
    try:
        radiograph = read_radiograph(file.path)
        lungs = segmenter(radiograph)
        warnings = list(radiograph.warnings)
        if not lungs.label_map.any():
            warnings.append("no lung was found")
        lungs.save_mask(output / "masks" / f"{name}.png")
        lungs.save_overlay(output / "overlays" / f"{name}.jpg")
        if radiograph.file_format == "DICOM":
            try:
                lungs.save_seg(output / "seg" / f"{name}.dcm")
            except HeaderError as error:
                warnings.append(str(error))
        row |= _describe(lungs)
        if references is not None:
            try:
                compared = lungs.agreement(_match(file, references))
                row |= vars(compared)
            except DataError as error:
                warnings.append(str(error))
        row["warnings"] = "; ".join(warnings)
    except NotFrontalChestError as error:
        row |= {"status": SKIPPED, "reason": _reason(error, file)}
    except LungfieldError as error:
        row |= {"status": FAILED, "reason": _reason(error, file)}
    # One file must never end a batch. A library's message may quote the header, so only its kind is told.
    except Exception as error:
        logger.debug("unexpected error", exc_info=True)
        row |= {"status": FAILED, "reason": f"unexpected {type(error).__name__}; please report it"}
    row["seconds"] = time.perf_counter() - start
    return FileResult(row["file"], row["status"], row["reason"], compared, row)


def _reason(error: LungfieldError, file: InputFile) -> str:
    """The message without the path that stands beside it anyway."""
    return str(error).removeprefix(f"{file.path}: ")


def _describe(lungs: Segmentation) -> dict[str, Any]:
    radiograph = lungs.radiograph
    rows, columns = radiograph.shape
    spacing = radiograph.spacing
    return {
        "format": radiograph.file_format,
        "rows": rows,
        "columns": columns,
        "view": radiograph.view or "",
        "row_spacing_mm": spacing.row_mm if spacing else None,
        "column_spacing_mm": spacing.column_mm if spacing else None,
        "spacing_source": spacing.source if spacing else None,
        **lungs.measurements.to_row(),
    }


def find_references(folder: Path) -> dict[PurePath, list[Path]]:
    """The reference masks below a folder, by their place in it without the suffix.

    Raises:
        DataError: there is no such folder, or no mask in it.
    """
    if not folder.is_dir():
        raise DataError(f"The folder of reference masks {folder} does not exist.")
    masks: dict[PurePath, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.lower().endswith(_REFERENCE_SUFFIXES) and path.is_file():
            place = path.relative_to(folder).with_name(stem(path.name, _REFERENCE_SUFFIXES))
            masks.setdefault(place, []).append(path)
    if not masks:
        raise DataError(f"No reference mask (PNG, NIfTI, DICOM SEG, TIFF, GIF) below {folder}.")
    return masks


def _match(file: InputFile, references: Mapping[PurePath, list[Path]]) -> Path:
    """The reference of a file: the one in the same place, else the only one of the same name.

    Raises:
        DataError: there is none, or there are several.
    """
    place = file.relative.with_name(stem(file.relative.name))
    found = references.get(place)
    if found is None:
        found = [path for other, paths in references.items() if other.name == place.name for path in paths]
    if len(found) != 1:
        raise DataError(f"{len(found) or 'no'} reference mask{'s' * (len(found) > 1)} named {place.name}")
    return found[0]
