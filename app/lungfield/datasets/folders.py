"""Prepare a set from own folders: images, and masks of the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lungfield.datasets.layout import SetDescription
from lungfield.datasets.matching import files_in, match_masks, with_structures
from lungfield.datasets.preparation import Cases, PreparedSet, SourceImage, Track, prepare, read_source
from lungfield.datasets.splits import Split
from lungfield.errors import DataError
from lungfield.labels import LEFT_LUNG, LUNG_SIDE_UNKNOWN, RIGHT_LUNG, UNKNOWN


def prepare_folders(
    images: Path,
    output: Path,
    *,
    masks: Sequence[Path] = (),
    right_masks: Path | None = None,
    left_masks: Path | None = None,
    outer_masks: Path | None = None,
    ignore_masks: Path | None = None,
    structures: Mapping[str, Path] | None = None,
    unlabelled: bool = False,
    description: SetDescription | None = None,
    spacing_mm: tuple[float, float] | None = None,
    invert: bool = False,
    split: Split = Split(),  # noqa: B008 - frozen
    max_side: int | None = 1024,
    track: Track = iter,
) -> PreparedSet:
    """Prepare a set from a folder of images and folders of masks.

    Give either `masks` (one or more folders; each image needs a mask in every one of them, which are
    combined), or both `right_masks` and `left_masks`, or `outer_masks`, or `unlabelled`. A mask has the name
    of its image, or that name plus an ending such as `_mask`; its size may differ if the aspect ratio is the
    same.

    Args:
        images: folder of the radiographs, in any format that `lungfield.radiograph` reads.
        output: folder of the prepared set.
        masks: folders of masks of both lungs, or of label maps (values of `lungfield.labels`).
        right_masks: folder of masks of the patient's right lung.
        left_masks: folder of masks of the patient's left lung.
        outer_masks: folder of contours around each lung that include the region medial of it.
        ignore_masks: folder of masks of pixels with an unknown label; an image need not have one.
        structures: folders of masks of further structures, by name, such as 'heart', 'right_clavicle',
            'left_clavicle' or your own; they may overlap the lungs, and an image need not have one.
        unlabelled: there are no masks; for pseudo-labels and inference.
        description: of the set; by default with the name of the output folder.
        spacing_mm: (row, column) in mm of the originals, for images without a spacing.
        invert: the images show bright lungs.
        split: into sections.
        max_side: limit of the longer side of the images, in pixels; None keeps every size.
        track: wraps the iteration, for a progress bar.

    Raises:
        DataError, UnreadableError, OutputError: see `lungfield.datasets.preparation.prepare`.
    """
    ways = [bool(masks), bool(right_masks or left_masks), bool(outer_masks), unlabelled]
    if sum(ways) != 1 or bool(right_masks) != bool(left_masks) or (unlabelled and ignore_masks):
        raise DataError(
            "Give either folders of masks, or one of right masks and one of left masks, or one of outer "
            "masks, or --unlabelled."
        )
    folders = [(folder, LUNG_SIDE_UNKNOWN) for folder in masks]
    if right_masks and left_masks:
        folders = [(right_masks, RIGHT_LUNG.value), (left_masks, LEFT_LUNG.value)]
    elif outer_masks:
        folders = [(outer_masks, LUNG_SIDE_UNKNOWN)]
    cases = match_masks(files_in(images), [(files_in(folder), label) for folder, label in folders])
    if outer_masks:
        outer = [
            replace(case, masks=tuple(replace(mask, outer=True) for mask in case.masks))
            for case in cases.complete
        ]
        cases = replace(cases, complete=tuple(outer))
    if ignore_masks:
        cases = _with_ignored(cases, files_in(ignore_masks))
    cases = with_structures(cases, {name: files_in(path) for name, path in (structures or {}).items()})

    def read(path: Path) -> SourceImage:
        source = read_source(path)
        pixels = 1 - source.pixels if invert else source.pixels
        return replace(source, pixels=pixels, spacing_mm=source.spacing_mm or spacing_mm)

    return prepare(
        cases,
        description or SetDescription(output.resolve().name),
        output,
        split=split,
        max_side=max_side,
        read=read,
        track=track,
    )


def _with_ignored(cases: Cases, files: Sequence[Path]) -> Cases:
    """Add the masks of unknown pixels to the cases that have one."""
    ignored = match_masks([case.image for case in cases.complete], [(files, UNKNOWN)])
    if not ignored.complete:
        raise DataError(
            "No mask of unknown pixels has the name of an image: check the folder --ignore-masks."
        )
    masks = {case.id: case.masks for case in ignored.complete}
    return replace(
        cases,
        complete=tuple(replace(case, masks=case.masks + masks.get(case.id, ())) for case in cases.complete),
        masks_without_image=(*cases.masks_without_image, *ignored.masks_without_image),
    )
