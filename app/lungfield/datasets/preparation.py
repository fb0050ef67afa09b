"""Prepare a set from original images and masks: the common part for all sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungfield.datasets import layout
from lungfield.datasets.outer import label_of_outer_contour
from lungfield.datasets.splits import Split
from lungfield.errors import DataError
from lungfield.labels import BACKGROUND, CLAVICLES, LEFT_LUNG, LUNG_SIDE_UNKNOWN, RIGHT_LUNG, UNKNOWN
from lungfield.mask import read_reference
from lungfield.pose import UPRIGHT, Pose

Shape = tuple[int, int]
Track = Callable[[Sequence[Any]], Iterable[Any]]
"""Yields the items of a sequence and shows the progress, as `rich.progress.track`."""

# Masks of the two lungs that overlap by more than this fraction of the smaller one are contradictory.
_MAX_OVERLAP = 0.01


@dataclass(frozen=True)
class MaskFile:
    """A mask file and its content.

    Attributes:
        path: of the file.
        label: the value of a lung, `LUNG_SIDE_UNKNOWN` for both lungs, or `UNKNOWN` for pixels without a
            known label.
        outer: whether the mask is an outer contour; see `lungfield.datasets.outer`.
    """

    path: Path
    label: int = LUNG_SIDE_UNKNOWN
    outer: bool = False


@dataclass(frozen=True)
class Case:
    """An original radiograph with its masks.

    Attributes:
        id: its name.
        image: file of the radiograph.
        masks: of the lungs, if any.
        group: by which the split is stratified, or None.
        structures: mask files of further structures, by name; they may overlap the lungs.
    """

    id: str
    image: Path
    masks: tuple[MaskFile, ...]
    group: str | None = None
    structures: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Cases:
    """The cases of a set, and the names of images and masks without a counterpart."""

    complete: tuple[Case, ...]
    images_without_mask: tuple[str, ...] = ()
    masks_without_image: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceImage:
    """An original radiograph, decoded.

    Attributes:
        pixels: (H, W) float32 in [0, 1], upright, lungs dark.
        spacing_mm: (row, column) in mm, or None if not known.
        pose: of the original in its file, and of its masks.
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    pose: Pose = UPRIGHT


@dataclass(frozen=True)
class PreparedSet:
    """The result of `prepare`.

    Attributes:
        folder: of the set.
        counts: number of images in each section.
        images_without_mask: names of images that were left out, as they have no mask.
        masks_without_image: names of masks without an image.
        in_no_section: names of images that the split leaves out.
        sides_by_position: names of images whose masks for right and left were exchanged, so that the sides
            were determined by position.
    """

    folder: Path
    counts: dict[str, int]
    images_without_mask: tuple[str, ...] = ()
    masks_without_image: tuple[str, ...] = ()
    in_no_section: tuple[str, ...] = ()
    sides_by_position: tuple[str, ...] = ()


def read_source(path: Path) -> SourceImage:
    """Decode a radiograph of any format that `lungfield.radiograph` reads, without a check of the view."""
    # Imported on use, as reading a prepared list needs no decoders.
    from lungfield.radiograph import read_radiograph

    radiograph = read_radiograph(path, require_frontal=False)
    spacing = radiograph.spacing
    spacing_mm = (spacing.row_mm, spacing.column_mm) if spacing else None
    return SourceImage(radiograph.pixels, spacing_mm, radiograph.pose)


def prepare(
    cases: Cases,
    description: layout.SetDescription,
    output: Path,
    *,
    split: Split,
    max_side: int | None,
    read: Callable[[Path], SourceImage] = read_source,
    track: Track = iter,
) -> PreparedSet:
    """Write a prepared set with the cases in the split.

    Args:
        cases: the originals.
        description: of the set.
        output: folder of the prepared set, which must not hold another one.
        split: into sections.
        max_side: limit of the longer side of the images, in pixels; None keeps every size.
        read: decodes an original image.
        track: wraps the iteration, for a progress bar.

    Raises:
        DataError: there is no case, the split does not fit, masks do not fit their image or each other, or
            the output folder holds a set.
        UnreadableError: an image cannot be decoded.
        OutputError: the set cannot be written.
    """
    if not cases.complete:
        raise DataError(
            f"Set '{description.name}' has no image with mask: {len(cases.images_without_mask)} images have "
            f"no mask, {len(cases.masks_without_image)} masks no image. Check the folders and the file names."
        )
    _require_other_folder(output, cases.complete)
    by_id = {case.id: case for case in cases.complete}
    names = split.apply({case.id: case.group for case in cases.complete}, set_name=description.name)
    learnt = [name for section in ("training", "validation") for name in names[section]]
    folds = split.folds_of({name: by_id[name].group for name in learnt})
    section_of = {name: section for section, members in names.items() for name in members}
    sections: dict[str, list[layout.Item]] = {section: [] for section in names}
    swapped: list[str] = []
    values: set[int] = set()
    layout.start_set(output, {name for case in cases.complete for name in case.structures})
    for name in track(sorted(section_of)):
        case = by_id[name]
        image = read(case.image)
        shape = _fit_shape(image.pixels.shape, max_side)
        item = replace(_item(case, image, shape, description.name), fold=folds.get(name))
        layout.write_png(output / item.image, _grey_levels(image.pixels, shape))
        if item.label is not None:
            label_map, moved = _label_map(case, image, shape)
            values |= set(np.unique(label_map).tolist()) - {BACKGROUND}
            if moved:
                swapped.append(name)
            layout.write_png(output / item.label, label_map)
        layout.write_structures(output, name, _structure_masks(case, image, shape))
        sections[section_of[name]].append(item)
    layout.finish_set(
        output, description, sections, label_values=layout.label_values(values), split=split.describe()
    )
    return PreparedSet(
        folder=output,
        counts={section: len(items) for section, items in sections.items()},
        images_without_mask=cases.images_without_mask,
        masks_without_image=cases.masks_without_image,
        in_no_section=tuple(sorted(set(by_id) - set(section_of))),
        sides_by_position=tuple(swapped),
    )


def _require_other_folder(output: Path, cases: Iterable[Case]) -> None:
    """Refuse an output folder whose files could replace originals."""
    for case in cases:
        written = {(output / name).resolve() for name in (layout.IMAGES, layout.LABELS, *case.structures)}
        for path in (case.image, *(mask.path for mask in case.masks), *case.structures.values()):
            if path.parent.resolve() in written:
                raise DataError(f"Output {output} holds the originals ({path.parent}): give another folder.")


def _item(case: Case, image: SourceImage, shape: Shape, dataset: str) -> layout.Item:
    spacing_mm = image.spacing_mm
    if spacing_mm is not None:
        rows, columns = image.pixels.shape
        row_mm, column_mm = spacing_mm
        spacing_mm = round(row_mm * rows / shape[0], 6), round(column_mm * columns / shape[1], 6)
    return layout.Item(
        id=case.id,
        image=f"{layout.IMAGES}/{case.id}.png",
        label=f"{layout.LABELS}/{case.id}.png" if case.masks else None,
        dataset=dataset,
        spacing_mm=spacing_mm,
        group=case.group,
        structures={name: f"{name}/{case.id}.png" for name in case.structures} or None,
    )


def _grey_levels(pixels: NDArray[np.float32], shape: Shape) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The (h, w) picture to write: 8 bits if the original has no more levels, else 16."""
    levels = pixels * 255
    resized = _resize_pixels(pixels, shape)
    if np.abs(levels - np.rint(levels)).max() < 1e-3:
        return np.rint(resized * 255).astype(np.uint8)
    return np.rint(resized * 65535).astype(np.uint16)


def _label_map(case: Case, image: SourceImage, shape: Shape) -> tuple[NDArray[np.uint8], bool]:
    """The (h, w) label map of a case, and whether right and left were exchanged."""
    label_map = np.full(shape, BACKGROUND, dtype=np.uint8)
    for mask in case.masks:
        upright = _read_fitting(mask.path, case, image)
        if mask.outer:
            upright = label_of_outer_contour(upright != BACKGROUND)
        elif mask.label != LUNG_SIDE_UNKNOWN:
            upright = np.where(upright != BACKGROUND, mask.label, BACKGROUND).astype(np.uint8)
        for value in sorted(set(np.unique(upright).tolist()) - {BACKGROUND}):
            if value == UNKNOWN:
                label_map[_resize_mask(upright == value, shape)] = UNKNOWN
                continue
            _add_lung(label_map, _resize_mask(upright == value, shape), value, mask.path)
    if not label_map.any():
        raise DataError(f"The mask of {case.image} is empty: {', '.join(str(m.path) for m in case.masks)}.")
    return _sides_by_position(label_map)


def _structure_masks(case: Case, image: SourceImage, shape: Shape) -> dict[str, NDArray[np.bool_]]:
    """The (h, w) masks of a case's further structures, by name."""
    masks = {
        name: _resize_mask(_read_fitting(path, case, image) != BACKGROUND, shape)
        for name, path in case.structures.items()
    }
    # As for the lungs, the position determines which clavicle is the right one.
    right, left = (masks.get(clavicle.name) for clavicle in CLAVICLES)
    if right is None or left is None or not (right.any() and left.any()):
        return masks
    if np.nonzero(right)[1].mean() > np.nonzero(left)[1].mean():
        masks |= {CLAVICLES[0].name: left, CLAVICLES[1].name: right}
    return masks


def _read_fitting(path: Path, case: Case, image: SourceImage) -> NDArray[np.uint8]:
    """Read a mask of a case, upright; `DataError` if its aspect ratio is not that of the image."""
    upright = read_reference(path, image.pose)
    (rows, columns), (image_rows, image_columns) = upright.shape, image.pixels.shape
    # With a tolerance of a pixel for rounding.
    if abs(rows * image_columns - columns * image_rows) > max(*upright.shape, *image.pixels.shape):
        raise DataError(
            f"Mask {path} has {rows} x {columns} pixels and does not fit {case.image} with "
            f"{image_rows} x {image_columns}: rows and columns must be in the same ratio."
        )
    return upright


def _add_lung(label_map: NDArray[np.uint8], lung: NDArray[np.bool_], value: int, path: Path) -> None:
    """Add a lung to a label map where it is background."""
    other = (label_map != BACKGROUND) & (label_map != value) & (label_map != UNKNOWN)
    smaller = min(np.count_nonzero(lung), np.count_nonzero(other))
    if np.count_nonzero(lung & other) > _MAX_OVERLAP * smaller:
        raise DataError(
            f"Mask {path} overlaps the mask of the other lung; if each shows both lungs, "
            "give them as masks of both."
        )
    label_map[lung & ~other] = value


def _sides_by_position(label_map: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Exchange right and left if the right lung is not on the patient's right.

    The names of masks are not reliable: some sets use 'left' for the left side of the image.
    """
    right, left = label_map == RIGHT_LUNG.value, label_map == LEFT_LUNG.value
    if not (right.any() and left.any()) or np.nonzero(right)[1].mean() < np.nonzero(left)[1].mean():
        return label_map, False
    swapped = label_map.copy()
    swapped[right], swapped[left] = LEFT_LUNG.value, RIGHT_LUNG.value
    return swapped, True


def _fit_shape(shape: tuple[int, ...], max_side: int | None) -> Shape:
    """The (rows, columns) of a prepared picture of `shape`, with at most `max_side` pixels per side."""
    scale = 1.0 if max_side is None else min(1.0, max_side / max(shape))
    rows, columns = (max(1, round(side * scale)) for side in shape)
    return rows, columns


def _resize_pixels(pixels: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Resize an (H, W) picture; each new pixel is the mean over its area."""
    if pixels.shape == shape:
        return pixels
    # For enlargement, a box filter would be a nearest neighbour, so interpolate.
    grows = shape[0] > pixels.shape[0] or shape[1] > pixels.shape[1]
    method = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    rows, columns = shape
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), method), dtype=np.float32)


def _resize_mask(mask: NDArray[np.bool_], shape: Shape) -> NDArray[np.bool_]:
    """Resize an (H, W) mask; a new pixel is True if at least half of its area is."""
    if mask.shape == shape:
        return mask
    return _resize_pixels(mask.astype(np.float32), shape) >= 0.5
