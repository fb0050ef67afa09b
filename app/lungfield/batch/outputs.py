"""The output formats of a segmentation, and their paths below the output folder."""

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
    """An output format.

    Attributes:
        folder: its folder below the output folder.
        suffix: of its files.
        needs_dicom: whether it refers to a DICOM image, and so is not written for other inputs.
        save: writes a segmentation to a path.
    """

    folder: str
    suffix: str
    needs_dicom: bool
    save: Callable[[Segmentation, Path, SaveOptions], None]

    def place(self, name: PurePath) -> PurePath:
        """The path of the file below the output folder; `name` is the radiograph's name without suffix."""
        return PurePath(self.folder) / f"{name}{self.suffix}"


@dataclass(frozen=True)
class SaveOptions:
    """Options for writing the files of a radiograph.

    Attributes:
        created: date and time of content and series in DICOM objects.
        viewer_geometry: give DICOM SEG objects an invented plane, for viewers that require one.
        seg: path of the DICOM SEG of the same radiograph, to which a report refers; None without one.
        structures: the structures in masks and DICOM SEG, by the names of `lungfield.labels.STRUCTURES`.
        reference: the reference mask, (H, W) uint8 in the file's pixels, non-zero on lung; None without one.
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


#: The values of `--formats`. DICOM SEG comes before the report that refers to it.
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
#: The masks of single structures, not cut by overlaps, that are written in addition to `mask` and `nifti`.
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
"""All formats, by the columns of their paths in the tables."""
DEFAULT_FORMATS = ("mask", "overlay", "preview", "seg")


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats in the order in which they are written, without repetitions.

    Raises:
        DataError: a format does not exist.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise DataError(f"Unknown output format {unknown[0]!r}; choose from {', '.join(FORMATS)}.")
    return tuple(name for name in FORMATS if name in names)


def check_structures(names: Sequence[str]) -> tuple[str, ...]:
    """The structures in the order of their label values, always with the lungs.

    Raises:
        DataError: a structure does not exist.
    """
    unknown = [name for name in names if name not in STRUCTURES]
    if unknown:
        raise DataError(f"Unknown structure {unknown[0]!r}; choose from {', '.join(STRUCTURES)}.")
    return tuple(name for name in STRUCTURES if name in names or name in ONLY_LUNGS)


def with_whole_masks(formats: Sequence[str], structures: Sequence[str]) -> tuple[str, ...]:
    """The formats, with those of `WHOLE_MASKS` for the structures besides the lungs."""
    labels = [label for name in structures if name not in ONLY_LUNGS for label in STRUCTURES[name]]
    added = [f"{label.name}_{kind}" for label in labels for kind in ("mask", "nifti") if kind in formats]
    return (*formats, *added)


def save_outputs(
    lungs: Segmentation, name: PurePath, output: Path, formats: Sequence[str], how: SaveOptions
) -> tuple[dict[str, str], list[str]]:
    """Write a segmentation in each of the formats.

    Args:
        lungs: the segmentation.
        name: of the radiograph, without suffix.
        output: the output folder.
        formats: names of `ALL_FORMATS`.
        how: options.

    Returns:
        The paths of the written files below `output`, by format; and warnings about formats that the
        radiograph's header does not allow.

    Raises:
        OutputError: a file could not be written.
    """
    written: dict[str, str] = {}
    remarks = []
    wanted = [
        one
        for one in with_whole_masks(formats, how.structures)
        if lungs.radiograph.file_format == "DICOM" or not ALL_FORMATS[one].needs_dicom
    ]
    # In the order of `formats`: a report reads the DICOM SEG that it refers to.
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
