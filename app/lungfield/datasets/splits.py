"""Split a set into training, validation and test, by a ratio or by a list file."""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lungfield.datasets.layout import SECTIONS
from lungfield.errors import DataError

# Names of the column of sections in a table.
_HEADINGS = ("section", "split", "set", "subset")


@dataclass(frozen=True)
class Split:
    """How to split a set.

    Attributes:
        ratio: of training, validation and test, such as '7:1:2'; counts such as '172:25:50' are exact if they
            sum to the number of images.
        seed: of the shuffle.
        file: a list file that is used instead of the ratio (see `split_by_list`).
        folds: number of folds for cross-validation over training and validation; 0 for none.
    """

    ratio: str = "7:1:2"
    seed: int = 0
    file: Path | None = None
    folds: int = 0

    def apply(self, groups: Mapping[str, str | None], *, set_name: str) -> dict[str, list[str]]:
        """Split names; `groups` maps each name to its group. Return sorted names by section.

        Names that a list file does not contain are in no section.

        Raises:
            DataError: the ratio or the list file is invalid for these names.
        """
        if self.file is not None:
            return split_by_list(groups, self.file, set_name=set_name)
        return split_by_ratio(groups, self.ratio, seed=self.seed)

    def folds_of(self, groups: Mapping[str, str | None]) -> dict[str, int]:
        """The fold of each name, from 0, with each group spread evenly; empty without folds.

        Raises:
            DataError: the number of folds is 1 or more than the number of names.
        """
        if self.folds == 0:
            return {}
        if not 2 <= self.folds <= len(groups):
            raise DataError(
                f"{self.folds} folds cannot be made of the {len(groups)} images of training and validation: "
                "give at least 2, and no more than there are images."
            )
        order = _evenly(groups, self.seed)
        return {name: place * self.folds // len(order) for place, name in enumerate(order)}

    def describe(self) -> dict[str, Any]:
        """The description of the split for `dataset.json`."""
        if self.file is not None:
            return {"method": f"list {self.file.name}", "seed": None}
        return {"method": f"ratio {self.ratio}", "seed": self.seed}


def split_by_ratio(groups: Mapping[str, str | None], ratio: str, *, seed: int = 0) -> dict[str, list[str]]:
    """Split names at random, with each group (such as normal and abnormal) in about the same proportions.

    The sizes of the sections are exact, by the method of largest remainders; the number of a group's images
    in a section may be off by one. The result depends only on names, groups, ratio and seed.

    Args:
        groups: the group of each name.
        ratio: such as '4:4:3'; a number may be 0.
        seed: of the shuffle.

    Raises:
        DataError: the ratio is invalid.
    """
    sizes = _sizes(len(groups), parse_ratio(ratio))
    order = _evenly(groups, seed)
    remaining = iter(order)
    return {name: sorted(islice(remaining, size)) for name, size in zip(SECTIONS, sizes, strict=True)}


def _evenly(groups: Mapping[str, str | None], seed: int) -> list[str]:
    """The names in a shuffled order in which any range contains a proportional number of each group."""
    members: dict[str, list[str]] = defaultdict(list)
    for name in sorted(groups):
        members[groups[name] or ""].append(name)
    shuffled = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    ranked = []
    for group in sorted(members):
        names = members[group]
        shuffled.shuffle(names)
        # Spread each group evenly from 0 to 1, and sort all by that position.
        ranked += [((rank + 0.5) / len(names), group, name) for rank, name in enumerate(names)]
    return [name for _, _, name in sorted(ranked)]


def parse_ratio(ratio: str) -> tuple[float, float, float]:
    """Parse three non-negative numbers with a positive sum, such as '4:4:3'; `DataError` for other text."""
    try:
        training, validation, test = (float(part) for part in ratio.split(":"))
    except ValueError as error:
        raise DataError(f"Split ratio '{ratio}' is not three numbers such as 7:1:2.") from error
    parts = (training, validation, test)
    if not (all(0 <= part < float("inf") for part in parts) and sum(parts) > 0):
        raise DataError(f"Split ratio '{ratio}' must have numbers of zero or more, not all zero.")
    return parts


def _sizes(total: int, parts: Sequence[float]) -> list[int]:
    """Integers in the ratio of `parts` with the sum `total`: the largest remainders are rounded up."""
    shares = [total * part / sum(parts) for part in parts]
    sizes = [int(share) for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda index: sizes[index] - shares[index])
    for index in by_remainder[: total - sum(sizes)]:
        sizes[index] += 1
    return sizes


def split_by_list(names: Iterable[str], path: Path, *, set_name: str) -> dict[str, list[str]]:
    """Split names by a list file. Return sorted names by section; names not in the list are in none.

    Three formats are read: JSON `{"training": [names], "validation": [...], "test": [...]}`; the same nested
    under the name of the set, `{"jsrt": {"training": ...}}`; and text or CSV with a name and a section per
    line. Names may have a file suffix.

    Raises:
        DataError: the file cannot be read, lists unknown names, or lists a name in two sections.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Split list {path} cannot be read: {error}.") from error
    is_json = text.lstrip().startswith("{")
    listed = _sections_from_json(text, path, set_name) if is_json else _sections_from_lines(text, path)
    known = set(names)
    section_of: dict[str, str] = {}
    sections: dict[str, list[str]] = {section: [] for section in SECTIONS}
    unknown = []
    for section, entries in listed.items():
        for entry in entries:
            without_suffix = entry.rpartition(".")[0]
            name = next((one for one in (entry, without_suffix) if one in known), None)
            if name is None:
                unknown.append(entry)
            elif section_of.setdefault(name, section) != section:
                raise DataError(f"{path} lists '{name}' in both {section_of[name]} and {section}.")
            elif name not in sections[section]:
                sections[section].append(name)
    if unknown:
        raise DataError(
            f"{path} lists {len(unknown)} names without image and mask in set '{set_name}', "
            f"the first: '{unknown[0]}'."
        )
    return {section: sorted(members) for section, members in sections.items()}


def _sections_from_json(text: str, path: Path, set_name: str) -> dict[str, list[str]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"Split list {path} is not valid JSON: {error}.") from error
    if not any(section in content for section in SECTIONS):
        if not isinstance(content.get(set_name), dict):
            raise DataError(
                f"Split list {path} has neither sections ({', '.join(SECTIONS)}) nor a set '{set_name}'. "
                f"There are: {', '.join(content) or 'none'}."
            )
        content = content[set_name]
    unknown = sorted(set(content) - set(SECTIONS))
    if unknown:
        raise DataError(
            f"Split list {path} has an unknown section '{unknown[0]}': use {', '.join(SECTIONS)}."
        )
    for section, entries in content.items():
        if not (isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)):
            raise DataError(f"Section '{section}' of split list {path} must be a list of names.")
    return content


def _sections_from_lines(text: str, path: Path) -> dict[str, list[str]]:
    lines = text.splitlines()
    delimiter = next((mark for mark in (",", ";", "\t") if mark in text), " ")
    sections: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != 2 or cells[1] not in SECTIONS:
            if number == 1 and cells[-1].lower() in _HEADINGS:
                continue
            raise DataError(
                f"Line {number} of split list {path} must be a name and one of {', '.join(SECTIONS)}."
            )
        sections[cells[1]].append(cells[0])
    return dict(sections)
