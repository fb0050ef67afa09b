"""Preparing any pair of folders: images, and masks of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lungfield.datasets.layout import SetDescription
from lungfield.datasets.matching import files_in, match_masks
from lungfield.datasets.preparation import PreparedSet, SourceImage, Track, prepare, read_source
from lungfield.datasets.splits import Split
from lungfield.errors import DataError
from lungfield.labels import LEFT_LUNG, LUNG_SIDE_UNKNOWN, RIGHT_LUNG


def prepare_folders(
    images: Path,
    output: Path,
    *,
    masks: Sequence[Path] = (),
    right_masks: Path | None = None,
    left_masks: Path | None = None,
    description: SetDescription | None = None,
    spacing_mm: tuple[float, float] | None = None,
    invert: bool = False,
    split: Split = Split(),  # noqa: B008 - frozen
    max_side: int | None = 1024,
    track: Track = iter,
) -> PreparedSet:
    """Prepare a set from a folder of images and folders of masks.

    Give either `masks` (one or more folders; each image needs a mask in every one of them, which are put
    together) or both `right_masks` and `left_masks`. A mask has the name of its image, or that with an ending
    such as `_mask`; its size may be another one in the same ratio.

    Args:
        images: folder of the radiographs, in any format that `lungfield.radiograph` reads.
        output: folder of the prepared set.
        masks: folders of masks of both lungs, or of label maps (values of `lungfield.labels`).
        right_masks: folder of masks of the patient's right lung.
        left_masks: folder of masks of the patient's left lung.
        description: what the set is; by default named after the output folder.
        spacing_mm: (row, column) in mm of the originals, for images that do not say it themselves.
        invert: the images show lungs bright.
        split: how to divide the set.
        max_side: longer side that no image exceeds, in pixels; None keeps every size.
        track: shows progress.

    Raises:
        DataError, UnreadableError, OutputError: see `lungfield.datasets.preparation.prepare`.
    """
    if right_masks and left_masks and not masks:
        folders = [(right_masks, RIGHT_LUNG.value), (left_masks, LEFT_LUNG.value)]
    elif masks and not (right_masks or left_masks):
        folders = [(folder, LUNG_SIDE_UNKNOWN) for folder in masks]
    else:
        raise DataError("Give either folders of masks, or one of right masks and one of left masks.")

    def read(path: Path) -> SourceImage:
        source = read_source(path)
        pixels = 1 - source.pixels if invert else source.pixels
        return replace(source, pixels=pixels, spacing_mm=source.spacing_mm or spacing_mm)

    return prepare(
        match_masks(files_in(images), [(files_in(folder), label) for folder, label in folders]),
        description or SetDescription(output.resolve().name),
        output,
        split=split,
        max_side=max_side,
        read=read,
        track=track,
    )
