"""Reads experiments.yaml into a `Plan`, and says clearly where it is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lungfield.mask.metrics import METRICS
from reproduction.plan import (
    ALL,
    MODES,
    CostSettings,
    Experiment,
    Measurement,
    Paper,
    Plan,
    PlanError,
    Recipe,
    Variant,
)

_METRICS = (*METRICS, "loss")


def load_plan(path: Path) -> Plan:
    """Read and check a file of experiments.

    Raises:
        PlanError: it cannot be read, or something in it is missing, unknown or of the wrong kind; names the
            entry.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    try:
        return _plan(content)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error


def _plan(content: Any) -> Plan:
    top = _mapping(
        content,
        "the file",
        required=("sets", "variants", "recipes", "experiments"),
        optional=("papers", "seeds", "cost"),
    )
    sets = {name: _text(value, f"sets.{name}") for name, value in _entries(top["sets"], "sets")}
    if ALL in sets:
        raise PlanError(f"sets: {ALL!r} means all sets together, and can name none.")
    recipes = {name: _recipe(name, value) for name, value in _entries(top["recipes"], "recipes")}
    variants = {name: _variant(name, value, recipes) for name, value in _entries(top["variants"], "variants")}
    papers = {
        name: _paper(name, value, variants) for name, value in _entries(top.get("papers", {}), "papers")
    }
    seeds = _counts(top.get("seeds", dict.fromkeys(MODES, 1)), "seeds")
    known = Plan(sets, variants, recipes, papers, {}, _cost(top.get("cost")))
    experiments = {
        name: _experiment(name, value, known, seeds)
        for name, value in _entries(top["experiments"], "experiments")
    }
    return Plan(sets, variants, recipes, papers, experiments, known.cost)


def _variant(name: str, value: Any, recipes: Mapping[str, Recipe]) -> Variant:
    where = f"variants.{name}"
    entry = _mapping(
        value, where, required=("bundle", "label", "colour"), optional=("overrides", "encoder", "input_of")
    )
    if "input_of" in entry:
        _one_of(entry["input_of"], recipes, f"{where}.input_of")
    overrides = _overrides(entry.pop("overrides", {}), f"{where}.overrides")
    variant = Variant(name=name, overrides=overrides, **entry)
    if not (variant.configs / "train.yaml").is_file():
        raise PlanError(f"{where}.bundle: there is no bundle {variant.bundle!r}.")
    return variant


def _recipe(name: str, value: Any) -> Recipe:
    where = f"recipes.{name}"
    entry = _mapping(value, where, required=("label", "stages"), optional=("config_of", "split"))
    stages = _list(entry["stages"], f"{where}.stages")
    split = tuple(_list(entry.get("split", [1, 1, 1]), f"{where}.split"))
    if len(split) != 3 or not all(isinstance(part, int) and part > 0 for part in split):
        raise PlanError(f"{where}.split must be three whole numbers above 0, such as [4, 4, 3].")
    return Recipe(
        name=name,
        label=_text(entry["label"], f"{where}.label"),
        stages=tuple(_overrides(one, f"{where}.stages.{number}") for number, one in enumerate(stages, 1)),
        config_of=entry.get("config_of", ""),
        split=split if "split" in entry else (),
    )


def _paper(name: str, value: Any, variants: Mapping[str, Variant]) -> Paper:
    where = f"papers.{name}"
    entry = _mapping(value, where, required=("citation", "claims"), optional=("notes",))
    claims = dict(_entries(entry["claims"], f"{where}.claims"))
    for variant, figures in claims.items():
        _one_of(variant, variants, f"{where}.claims")
        for metric, figure in _entries(figures, f"{where}.claims.{variant}"):
            _one_of(metric, _METRICS, f"{where}.claims.{variant}")
            if not isinstance(figure, float):
                raise PlanError(f"{where}.claims.{variant}.{metric} must be a number such as 0.95.")
    return Paper(
        citation=_text(entry["citation"], f"{where}.citation"),
        claims=claims,
        notes=tuple(entry.get("notes", ())),
    )


def _experiment(name: str, value: Any, known: Plan, seeds: Mapping[str, int]) -> Experiment:
    where = f"experiments.{name}"
    entry = _mapping(
        value,
        where,
        required=("title", "recipe", "variants", "measure", "metrics"),
        optional=("paper", "seeds", "compare", "pooled", "cost", "pictures"),
    )
    recipes = _mapping(entry.pop("recipe"), f"{where}.recipe", required=(), optional=MODES)
    for recipe in recipes.values():
        _one_of(recipe, known.recipes, f"{where}.recipe")
    for key, allowed in (
        ("variants", known.variants),
        ("pictures", entry["variants"]),
        ("metrics", _METRICS),
        ("compare", entry["metrics"]),
    ):
        if key in entry:
            for one in _list(entry[key], f"{where}.{key}"):
                _one_of(one, allowed, f"{where}.{key}")
            entry[key] = tuple(entry[key])
    if "paper" in entry:
        _one_of(entry["paper"], known.papers, f"{where}.paper")
    measure = tuple(
        _measurement(one, f"{where}.measure.{number}", known.sets)
        for number, one in enumerate(_list(entry.pop("measure"), f"{where}.measure"), 1)
    )
    entry["seeds"] = {**seeds, **_counts(entry.get("seeds", {}), f"{where}.seeds")}
    entry.setdefault("compare", entry["metrics"][:1])
    return Experiment(name=name, recipes=recipes, measure=measure, **entry)


def _measurement(value: Any, where: str, sets: Mapping[str, str]) -> Measurement:
    entry = _mapping(value, where, required=("train", "test"), optional=())
    _one_of(entry["train"], (ALL, *sets), f"{where}.train")
    for one in _list(entry["test"], f"{where}.test"):
        _one_of(one, sets, f"{where}.test")
    return Measurement(entry["train"], tuple(entry["test"]))


def _cost(value: Any) -> CostSettings | None:
    if value is None:
        return None
    entry = _mapping(value, "cost", required=("title", "common_size", "warmups", "repeats"), optional=())
    size = tuple(_list(entry.pop("common_size"), "cost.common_size"))
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise PlanError("cost.common_size must be two side lengths in pixels, such as [256, 256].")
    return CostSettings(common_size=size, **entry)


def _mapping(value: Any, where: str, *, required: Iterable[str], optional: Iterable[str]) -> dict[str, Any]:
    """A copy of a mapping that has all of `required` and nothing beyond `optional`."""
    if not isinstance(value, dict):
        raise PlanError(f"{where} must have entries of the form 'name: value'.")
    required, optional = tuple(required), tuple(optional)
    for key in value:
        _one_of(key, (*required, *optional), where)
    missing = [key for key in required if key not in value]
    if missing:
        raise PlanError(f"{where} lacks {missing[0]!r}.")
    return dict(value)


def _entries(value: Any, where: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise PlanError(f"{where} must have entries of the form 'name: value'.")
    return ((str(key), one) for key, one in value.items())


def _one_of(name: Any, known: Iterable[str], where: str) -> None:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
        raise PlanError(f"{where}: {name!r} is not known here. {hint}")


def _list(value: Any, where: str) -> list[Any]:
    if not (isinstance(value, list) and value):
        raise PlanError(f"{where} must be a list with something in it.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise PlanError(f"{where} must be text.")
    return value


def _overrides(value: Any, where: str) -> dict[str, Any]:
    entries = dict(_entries(value, where))
    for key, one in entries.items():
        # MONAI's command line drops what is null.
        if one is None or isinstance(one, dict):
            raise PlanError(f"{where}.{key} must be a number, a text, true, false or a list.")
    return entries


def _counts(value: Any, where: str) -> dict[str, int]:
    counts = _mapping(value, where, required=(), optional=MODES)
    for mode, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise PlanError(f"{where}.{mode} must be a whole number above 0.")
    return counts
