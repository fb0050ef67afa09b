"""Make pseudo-labels with a trained network, for radiographs without labels or with partial ones."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.atomic import write_whole
from lungfield.bundles.predictor import Predictor
from lungfield.datasets import SetDescription, layout, load_data_list
from lungfield.datasets.data_list import read_list
from lungfield.datasets.preparation import Track
from lungfield.errors import DataError
from lungfield.labels import BACKGROUND, LEFT_LUNG, LUNG_SIDE_UNKNOWN, RIGHT_LUNG, UNKNOWN
from lungfield.mask import agreement, read_reference
from lungfield.pipeline import segmenting
from lungfield.pose import UPRIGHT
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph

#: Smallest Dice of the masks of a radiograph and its mirror image for which a pseudo-label is accepted.
MIN_AGREEMENT = 0.95


@dataclass(frozen=True)
class PseudoLabels:
    """The result of `make_pseudo_labels`.

    Attributes:
        folder: of the new set.
        counts: number of radiographs by section.
        doubtful: radiographs that were left out, as the network found no two lungs, or the masks of the
            radiograph and its mirror image disagree.
    """

    folder: Path
    counts: dict[str, int]
    doubtful: tuple[str, ...] = ()


def make_pseudo_labels(
    source: Path, output: Path, predictor: Predictor, *, track: Track = iter
) -> PseudoLabels:
    """Write a copy of a prepared set with labels from a trained network, the teacher.

    A radiograph without a label is segmented as it is and mirrored. It is included if both masks agree and
    have two lungs; pixels in which they differ are unknown. In a partial label, unknown pixels that are lung
    in both masks become lung, and others stay unknown. A complete label is copied. The test section is left
    out, as a network must not be evaluated on its own masks. Masks of further structures are copied.

    Args:
        source: folder of the prepared set.
        output: folder of the new set.
        predictor: the teacher.
        track: wraps the iteration over radiographs, for a progress bar.

    Raises:
        DataError: the source is no prepared set, or the output contains one.
        UnreadableError: a radiograph cannot be read.
        OutputError: the set cannot be written.
    """
    if output.resolve() == source.resolve():
        raise DataError(f"Output {output} is the set itself: give another folder.")
    if not (source / layout.LIST_NAME).is_file():
        raise DataError(f"{source} has no {layout.LIST_NAME}: give a set that `lungfield prepare` made.")
    content = read_list(source / layout.LIST_NAME)
    names = [section for section in layout.SECTIONS if section != "test" and content.get(section)]
    entries = {section: load_data_list(source, section) for section in names}
    sections: dict[str, list[layout.Item]] = {section: [] for section in names}
    doubtful: list[str] = []
    values: set[int] = set()
    further = {name for one in names for entry in content[one] for name in entry.get("structures") or {}}
    layout.start_set(output, further)
    for section, item, stored in track(
        [(one, *pair) for one in names for pair in zip(entries[one], content[one], strict=True)]
    ):
        label_map = _label_of(item, predictor)
        if label_map is None:
            doubtful.append(item["id"])
            continue
        values |= set(np.unique(label_map).tolist()) - {BACKGROUND}
        name, original = item["id"], Path(item["image"])
        image, label = f"{layout.IMAGES}/{name}{original.suffix}", f"{layout.LABELS}/{name}.png"
        write_whole(output / image, original.read_bytes())
        layout.write_png(output / label, label_map)
        structures = {one: f"{one}/{name}.png" for one in stored.get("structures") or {}}
        for structure, path in structures.items():
            write_whole(output / path, (source / stored["structures"][structure]).read_bytes())
        metadata = {key: stored.get(key) for key in ("spacing_mm", "group", "fold")}
        sections[section].append(
            layout.Item(name, image, label, item["dataset"], **metadata, structures=structures or None)
        )
    described = {field.name: content.get(field.name) or "" for field in fields(SetDescription)}
    bundle = predictor.bundle
    teacher = {"bundle": bundle.name, "version": bundle.version, "weights_sha256": bundle.weights_sha256}
    layout.finish_set(
        output,
        SetDescription(**described),
        sections,
        label_values=layout.label_values(values),
        split=content.get("split") or {},
        teacher=teacher,
    )
    counts = {section: len(items) for section, items in sections.items()}
    return PseudoLabels(output, counts, tuple(doubtful))


def _label_of(item: dict[str, Any], predictor: Predictor) -> NDArray[np.uint8] | None:
    """The (H, W) uint8 label map of a radiograph, or None if the teacher's masks are doubtful."""
    label_map = read_reference(Path(item["label"]), UPRIGHT, partial=True) if "label" in item else None
    if label_map is not None and not (label_map == UNKNOWN).any():
        return label_map
    radiograph = read_radiograph(Path(item["image"]), require_frontal=False)
    mirrored = replace(radiograph, pixels=np.ascontiguousarray(radiograph.pixels[:, ::-1]), valid=None)
    first = _segmented(radiograph, predictor)
    second = _segmented(mirrored, predictor)[:, ::-1]
    lung = (first != BACKGROUND) & (second != BACKGROUND)
    if label_map is not None:
        # A single value for lung, as a label map must not mix sides with lung of unknown side.
        both = np.where(label_map == BACKGROUND, BACKGROUND, LUNG_SIDE_UNKNOWN)
        return np.where((label_map == UNKNOWN) & ~lung, UNKNOWN, both).astype(np.uint8)
    two_lungs = (first == RIGHT_LUNG.value).any() and (first == LEFT_LUNG.value).any()
    if not two_lungs or agreement(first, second, spacing=None).dice < MIN_AGREEMENT:
        return None
    differ = (first != BACKGROUND) != (second != BACKGROUND)
    return np.where(differ, UNKNOWN, first).astype(np.uint8)


def _segmented(radiograph: Radiograph, predictor: Predictor) -> NDArray[np.uint8]:
    return predictor.drive(segmenting(radiograph, predictor.processing, correct=False)).upright_label_map
