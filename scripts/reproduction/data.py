"""The prepared sets that runs are trained and tested on, and splits of their own where a paper asks so."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from lungfield.atomic import write_whole
from lungfield.datasets import load_data_list
from lungfield.datasets.layout import LIST_NAME, SECTIONS
from lungfield.datasets.splits import split_by_ratio
from reproduction.plan import ALL, Plan, PlanError, Recipe


def check_sets(plan: Plan, data: Path) -> None:
    """Make sure that a folder holds the declared sets and no others.

    Raises:
        PlanError: one is missing; or there is another one, which trainings on all sets would take in.
    """
    missing = [name for name in plan.sets if not (data / name / LIST_NAME).is_file()]
    if missing:
        raise PlanError(
            f"{data / missing[0]} is no prepared set: {LIST_NAME} is missing there. "
            f"Make it with `lungfield prepare`; needed are {', '.join(plan.sets)}."
        )
    others = [
        path.parent.name for path in sorted(data.glob(f"*/{LIST_NAME}")) if path.parent.name not in plan.sets
    ]
    if others:
        raise PlanError(
            f"{data} also holds {', '.join(others)}, which no experiment knows and 'all' would train on. "
            f"Give a folder with {', '.join(plan.sets)} alone."
        )


def folder_of(data: Path, name: str) -> Path:
    """The folder that `--dataset_dir` is given for a set, or for 'all'."""
    return data if name == ALL else data / name


def own_split(plan: Plan, recipe: Recipe, data: Path, output: Path, seed: int) -> Path:
    """The sets as a recipe splits them: data lists that refer to the prepared images.

    All images are divided together, each set and each of its groups in the recipe's ratio. A seed always
    gives the same lists; they are written anew where `data` has moved.

    Returns:
        A folder with a data list for each set, or `data` itself where the recipe has no split of its own.

    Raises:
        DataError: the sets cannot be read.
    """
    if not recipe.split:
        return data
    folder = output / "splits" / "-".join(map(str, recipe.split)) / f"seed-{seed}"
    items, groups = {}, {}
    for name in plan.sets:
        content = json.loads((data / name / LIST_NAME).read_text(encoding="utf-8"))
        for section in SECTIONS:
            if not content.get(section):
                continue
            for item, entry in zip(load_data_list(data / name, section), content[section], strict=True):
                items[name, item["id"]] = item
                groups[f"{name}/{item['id']}"] = f"{name} {entry.get('group')}"
    sections = split_by_ratio(groups, ":".join(map(str, recipe.split)), seed=seed)
    for name in plan.sets:
        divided: dict[str, object] = {"name": name, "split": {"ratio": list(recipe.split), "seed": seed}}
        for section, members in sections.items():
            ids = [member.partition("/")[2] for member in members if member.startswith(f"{name}/")]
            divided[section] = [_as_json(items[name, one]) for one in ids]
        text = json.dumps(divided, indent=1, ensure_ascii=False) + "\n"
        path = folder / name / LIST_NAME
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text.encode())
    return folder


def _as_json(item: dict[str, Any]) -> dict[str, Any]:
    known = not any(math.isnan(side) for side in item["spacing_mm"])  # JSON has no NaN
    return item | {"spacing_mm": item["spacing_mm"] if known else None}
