"""A prepared set of any number of phantoms."""

from __future__ import annotations

from pathlib import Path

from lungfield.datasets import layout
from lungfield.datasets.preparation import PreparedSet, Track
from lungfield.datasets.splits import Split
from lungfield.errors import DataError
from lungfield.labels import CLAVICLES, HEART, LUNGS
from phantoms.dicom import phantom_dataset, write_dicom
from phantoms.phantom import make_phantom

DESCRIPTION = layout.SetDescription(
    name="phantoms",
    description="Synthetic chest radiographs whose lungs, heart and clavicles are known exactly.",
    source="Made by scripts/make_phantoms.py",
    licence="Apache-2.0",
)
_MIN_SIZE = 64


def prepare_phantoms(
    output: Path,
    *,
    count: int = 200,
    size: int = 512,
    seed: int = 0,
    split: Split = Split(),
    track: Track = iter,
) -> PreparedSet:
    """Make a set of phantoms: DICOM files (DX, 12 bits), label maps and a list.

    Args:
        output: folder of the prepared set.
        count: number of phantoms.
        size: rows and columns.
        seed: the same seed gives the same phantoms for any count.
        split: into sections.
        track: wraps the iteration, for a progress bar.

    Raises:
        DataError: the count or size is invalid, the split does not fit, or the output folder holds a set.
        OutputError: the set cannot be written.
    """
    if count < 1 or size < _MIN_SIZE:
        raise DataError(f"Make at least one phantom of at least {_MIN_SIZE} pixels, not {count} of {size}.")
    if seed < 0:
        raise DataError(f"The seed must be 0 or more, not {seed}.")
    numbers = {f"phantom_{number:04d}": number for number in range(1, count + 1)}
    names = split.apply(dict.fromkeys(numbers), set_name=DESCRIPTION.name)
    section_of = {name: section for section, members in names.items() for name in members}
    sections: dict[str, list[layout.Item]] = {section: [] for section in names}
    layout.start_set(output, [label.name for label in (HEART, *CLAVICLES)])
    for name in track(sorted(section_of)):
        item = _write_phantom(output, name, numbers[name], size=size, seed=seed)
        sections[section_of[name]].append(item)
    values = layout.label_values(lung.value for lung in LUNGS)
    layout.finish_set(output, DESCRIPTION, sections, label_values=values, split=split.describe())
    return PreparedSet(
        folder=output,
        counts={section: len(items) for section, items in sections.items()},
        in_no_section=tuple(sorted(set(numbers) - set(section_of))),
    )


def _write_phantom(output: Path, name: str, number: int, *, size: int, seed: int) -> layout.Item:
    phantom = make_phantom([seed, number], shape=(size, size))
    spacing_mm = (phantom.spacing_mm, phantom.spacing_mm)
    dataset = phantom_dataset(
        phantom.pixels,
        name=f"Phantom^{number:04d}",
        number=number,
        entropy=["phantoms", str(seed), str(number), str(size)],
        ImagerPixelSpacing=list(spacing_mm),
    )
    image, label = f"{layout.IMAGES}/{name}.dcm", f"{layout.LABELS}/{name}.png"
    write_dicom(output / image, dataset)
    layout.write_png(output / label, phantom.label_map)
    structures = layout.write_structures(output, name, phantom.structures)
    return layout.Item(name, image, label, DESCRIPTION.name, spacing_mm, structures=structures)
