"""What can be written of one segmentation, and where below the output folder it belongs."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from lungfield.atomic import written_together
from lungfield.errors import DataError, HeaderError
from lungfield.labels import CLAVICLES, HEART, ONLY_LUNGS, STRUCTURES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lungfield.pipeline import Segmentation


@dataclass(frozen=True)
class Format:
    """A kind of output file.

    Attributes:
        folder: below the output folder.
        needs_dicom: whether it refers to a DICOM image, and is left out for other inputs.
    """

    folder: str
    suffix: str
    needs_dicom: bool
    save: Callable[[Segmentation, Path, SaveOptions], None]

    def place(self, name: PurePath) -> PurePath:
        """The file's path below the output folder, for a radiograph's name without suffix."""
        return PurePath(self.folder) / f"{name}{self.suffix}"


@dataclass(frozen=True)
class SaveOptions:
    """How files are written.

    Attributes:
        created: date and time that DICOM objects bear.
        viewer_geometry: place DICOM SEG objects in an invented plane, for viewers that insist on one.
        seg: path of the DICOM SEG of the same radiograph, if one was written; a report refers to it.
        structures: what masks and DICOM SEG hold, of `lungfield.labels.STRUCTURES`.
        reference: (H, W) as the radiograph is stored, not 0 on lung: what it was compared with.
    """

    created: datetime.datetime
    viewer_geometry: bool = False
    seg: Path | None = None
    structures: tuple[str, ...] = ONLY_LUNGS
    reference: NDArray[np.uint8] | None = None


def _save_mask(lungs: Segmentation, path: Path, how: SaveOptions) -> None:
    lungs.save_mask(path, structures=how.structures)


def _save_structure(name: str, lungs: Segmentation, path: Path, _: SaveOptions) -> None:
    lungs.save_structure(name, path)


#: What `--formats` knows. DICOM SEG comes before the report that refers to it.
FORMATS: Mapping[str, Format] = {
    "mask": Format("masks", ".png", False, _save_mask),
    "nifti": Format("nifti", ".nii.gz", False, _save_mask),
    "overlay": Format("overlays", ".jpg", False, lambda lungs, path, _: lungs.save_overlay(path)),
    "preview": Format(
        "previews", ".svg", False, lambda lungs, path, how: lungs.save_preview(path, reference=how.reference)
    ),
    "seg": Format(
        "seg",
        ".dcm",
        True,
        lambda lungs, path, how: lungs.save_seg(
            path, structures=how.structures, viewer_geometry=how.viewer_geometry, created=how.created
        ),
    ),
    "sr": Format(
        "sr",
        ".dcm",
        True,
        lambda lungs, path, how: lungs.save_report(path, created=how.created, segmentation=how.seg),
    ),
    "sc": Format(
        "sc",
        ".dcm",
        True,
        lambda lungs, path, how: lungs.save_secondary_capture(path, created=how.created),
    ),
}
#: The masks of single structures, whole where they overlap others: what comes beside `mask` and `nifti`.
WHOLE_MASKS: Mapping[str, Format] = {
    f"{label.name}_{kind}": Format(
        label.name,
        FORMATS[kind].suffix,
        False,
        partial(_save_structure, label.name),
    )
    for label in (HEART, *CLAVICLES)
    for kind in ("mask", "nifti")
}
ALL_FORMATS: Mapping[str, Format] = {**FORMATS, **WHOLE_MASKS}
"""All that is ever written, by the columns of its paths in the tables."""
DEFAULT_FORMATS = ("mask", "overlay", "preview", "seg")


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats in the order in which they are written, each once; `DataError` where there is no such."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise DataError(f"There is no output format {unknown[0]!r}; choose from {', '.join(FORMATS)}.")
    return tuple(name for name in FORMATS if name in names)


def check_structures(names: Sequence[str]) -> tuple[str, ...]:
    """The structures in the order of their values, the lungs always there; `DataError` for an unknown one."""
    unknown = [name for name in names if name not in STRUCTURES]
    if unknown:
        raise DataError(f"There is no structure {unknown[0]!r}; choose from {', '.join(STRUCTURES)}.")
    return tuple(name for name in STRUCTURES if name in names or name in ONLY_LUNGS)


def with_whole_masks(formats: Sequence[str], structures: Sequence[str]) -> tuple[str, ...]:
    """The formats, and those of `WHOLE_MASKS` that the structures beside the lungs add to them."""
    labels = [label for name in structures if name not in ONLY_LUNGS for label in STRUCTURES[name]]
    added = [f"{label.name}_{kind}" for label in labels for kind in ("mask", "nifti") if kind in formats]
    return (*formats, *added)


def save_outputs(
    lungs: Segmentation, name: PurePath, output: Path, formats: Sequence[str], how: SaveOptions
) -> tuple[dict[str, str], list[str]]:
    """Write a segmentation in each of the formats; `OutputError` where a file could not be written.

    What comes back are the paths of what was written, below `output`, by format; and remarks on what could
    not be made because of the radiograph's header.
    """
    written: dict[str, str] = {}
    remarks = []
    wanted = [
        one
        for one in with_whole_masks(formats, how.structures)
        if lungs.radiograph.file_format == "DICOM" or not ALL_FORMATS[one].needs_dicom
    ]
    # A report reads the DICOM SEG that it refers to: what comes before it is written first.
    for _, group in groupby(wanted, key="sr".__eq__):
        with written_together():
            for one in group:
                place = ALL_FORMATS[one].place(name)
                seg = output / written["seg"] if "seg" in written else None
                try:
                    ALL_FORMATS[one].save(lungs, output / place, replace(how, seg=seg))
                except HeaderError as error:
                    remarks.append(str(error).removeprefix(f"{output / place}: "))
                else:
                    written[one] = place.as_posix()
    return written, remarks
