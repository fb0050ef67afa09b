"""Calibrate and measure the quality flags, on radiographs good and spoiled and on what is no chest at all.

    python scripts/calibrate_flags.py DATASET_DIR -o runs/flags --bundle unet
    python scripts/calibrate_flags.py DATASET_DIR -o runs/flags --bundle unet --fit

Every case is a prepared radiograph as it is or spoiled, or a picture without a chest (`hard_cases.py`). It is
segmented once and kept under runs/flags/cases; then all are assessed. runs/flags/cases.csv has features, Dice
and flags of each, summary.json what the flags are worth on the cases for the test, and quality-flags.png the
curves. Constants are fitted on the other cases: training and validation radiographs, and every second
picture; `--fit` prints those of `lungfield.mask.quality` and `lungfield.mask.mirror` that come of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from matplotlib import pyplot
from numpy.typing import NDArray
from rich.progress import track
from scipy import optimize, special
from skimage import transform

from hard_cases import (
    DEGRADATIONS,
    DRAWINGS,
    LONGEST_SIDE,
    PHOTOGRAPHS,
    Degradation,
    Mask,
    Pixels,
    photograph,
)
from labelled import read_labelled
from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import Predictor, lung_probability
from lungfield.datasets import load_data_list
from lungfield.export import write_results_csv
from lungfield.mask import agreement, mirror, quality, read_mask
from lungfield.mask.components import bounding_box
from lungfield.mask.quality import Flag, Quality, assess
from lungfield.records import Radiograph

POOR_DICE = 0.90
GOOD_DICE = 0.95
TRAINING_IMAGES = 24
DRAWINGS_EACH = 6


# Cases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One picture to segment and to judge.

    Attributes:
        name: what its file is called.
        role: 'fit' or 'test'.
        source: the data set, or 'picture' for what is no chest.
        kind: 'clean', the name of a degradation, or what the picture shows.
        load: gives pixels and reference; without a chest the reference is empty.
    """

    name: str
    role: str
    source: str
    kind: str
    load: Callable[[], tuple[Pixels, Mask]]


def radiograph_cases(dataset_dir: Path, *, dataset: str = "") -> Iterator[Case]:
    """Radiographs as they are, and spoiled: two ways each for the fit, one for the test, all ways in turn.

    Args:
        dataset_dir: a prepared data set, or a folder of several.
        dataset: only this one of several.
    """
    for section, role, ways_each in (("training", "fit", 2), ("validation", "fit", 2), ("test", "test", 1)):
        items = [one for one in load_data_list(dataset_dir, section) if dataset in ("", one["dataset"])]
        if section == "training":
            items = [items[i] for i in np.random.default_rng(0).permutation(len(items))[:TRAINING_IMAGES]]
        for number, item in enumerate(items):
            first = number * ways_each
            ways = [DEGRADATIONS[way % len(DEGRADATIONS)] for way in range(first, first + ways_each)]
            for way in (None, *ways):
                kind = "clean" if way is None else way.__name__
                load = partial(_load, item, way, [number, len(section)])
                yield Case(f"{section}-{item['id']}-{kind}", role, item["dataset"], kind, load)


def _load(item: dict, way: Degradation | None, seed: list[int]) -> tuple[Pixels, Mask]:
    radiograph, label_map = read_labelled(item)
    pixels, reference = radiograph.pixels, label_map > 0
    step = max(1, max(pixels.shape) // LONGEST_SIDE)
    if step > 1:
        pixels = transform.downscale_local_mean(pixels, (step, step)).astype(np.float32)
        reference = transform.downscale_local_mean(reference, (step, step)) > 0.5
    if way is not None:
        pixels, reference = way(pixels, reference, np.random.default_rng(seed))
    return np.ascontiguousarray(pixels, dtype=np.float32), np.ascontiguousarray(reference)


def picture_cases() -> Iterator[Case]:
    """Pictures without a chest, and their negatives; every second one is for the test."""
    makers = [
        (number, Path(name).stem, "photograph", partial(photograph, name))
        for number, name in enumerate(PHOTOGRAPHS)
    ] + [
        (seed, f"{draw.__name__}-{seed}", draw.__name__, partial(draw, seed))
        for draw in DRAWINGS
        for seed in range(DRAWINGS_EACH)
    ]
    for number, name, kind, make in makers:
        for sign in ("positive", "negative"):
            load = partial(_without_chest, make, negative=sign == "negative")
            yield Case(f"picture-{name}-{sign}", ("fit", "test")[number % 2], "picture", kind, load)


def _without_chest(make: Callable[[], Pixels], *, negative: bool) -> tuple[Pixels, Mask]:
    pixels = make()
    return (1 - pixels if negative else pixels), np.zeros(pixels.shape, bool)


def segment(case: Case, predictor: Predictor) -> dict[str, NDArray]:
    """What a bundle makes of a case and its mirror image, in small types.

    Returns:
        `label_map`, (H, W) uint8; `probabilities`, (h, w) float16 on the network's grid; `flipped`, the same
        of the mirrored picture, mirrored back; `pixels`, (H, W) uint8; and `dice`, the agreement with the
        reference, 0 where there is no chest, whatever was found.
    """
    pixels, reference = case.load()
    radiograph = Radiograph(Path(case.name), pixels)
    prepared = predictor.processing.prepare(radiograph)
    image = torch.as_tensor(prepared["image"])
    logits = predictor.logits(torch.stack([image, image.flip(-1)])).float().cpu()
    label_map = predictor.processing.finish(prepared, logits[0], radiograph)
    return {
        "label_map": label_map,
        "probabilities": lung_probability(logits[0], predictor.processing.classes).astype(np.float16),
        "flipped": lung_probability(logits[1], predictor.processing.classes)[:, ::-1].astype(np.float16),
        "pixels": np.round(pixels * 255).astype(np.uint8),
        "dice": agreement(label_map, reference, spacing=None).dice if reference.any() else 0.0,
    }


def keep(arrays: dict[str, NDArray], path: Path) -> None:
    """Write arrays, under their name only once the file is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(path)


# What the flags are worth -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A case with what `assess` says of it, without and with the mirrored picture."""

    bundle: str
    case: Case
    dice: float
    quality: Quality
    flags_with_mirrored: tuple[Flag, ...]

    @property
    def poor(self) -> bool:
        """Whether the mask should have been flagged."""
        return self.dice < POOR_DICE

    @property
    def flagged(self) -> bool:
        """Whether it was."""
        return bool(self.quality.flags)


def judge(bundle: str, case: Case, path: Path) -> Judged:
    """Assess what was made of a case and kept in `path`."""
    with np.load(path) as arrays:
        label_map, dice = arrays["label_map"], float(arrays["dice"])
        probabilities, flipped = (arrays[key].astype(np.float32) for key in ("probabilities", "flipped"))
        radiograph = Radiograph(Path(case.name), arrays["pixels"].astype(np.float32) / 255)
    alone = assess(label_map, probabilities, radiograph)
    with_mirrored = assess(label_map, probabilities, radiograph, flipped=flipped)
    return Judged(bundle, case, dice, alone, with_mirrored.flags)


def roc(cases: Sequence[Judged]) -> tuple[NDArray[np.floating], NDArray[np.floating], float]:
    """The curve of `1 - confidence` as a test for poor masks: false and true positive rates, and its area."""
    score = np.array([-case.quality.confidence for case in cases])
    poor = np.array([case.poor for case in cases])
    levels = np.unique(score)[::-1]
    called = score >= levels[:, None]
    true, false = called[:, poor].mean(axis=1), called[:, ~poor].mean(axis=1)
    true, false = np.append(0, true), np.append(0, false)
    return false, true, float(np.trapezoid(true, false))


def figures(cases: Sequence[Judged]) -> dict[str, float]:
    """How well flags and confidence find poor masks."""
    poor = [case for case in cases if case.poor]
    flagged = [case for case in cases if case.flagged]
    good = [case for case in cases if case.case.kind == "clean" and case.dice >= GOOD_DICE]
    return {
        "cases": len(cases),
        "poor": len(poor),
        "auc": roc(cases)[2] if 0 < len(poor) < len(cases) else float("nan"),
        "recall": _share(case.flagged for case in poor),
        "precision": _share(case.poor for case in flagged),
        "recall_with_mirrored": _share(bool(case.flags_with_mirrored) for case in poor),
        "clean_good": len(good),
        "clean_good_flagged": _share(case.flagged for case in good),
        "clean_good_flagged_with_mirrored": _share(bool(case.flags_with_mirrored) for case in good),
    }


def by_kind(cases: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Counts for each kind of case: how many, how many of them poor and good, and the flagged of both."""
    table: dict[str, dict[str, float]] = {}
    for case in cases:
        zeros = dict.fromkeys(("poor", "poor_flagged", "good", "good_flagged"), 0)
        counts = table.setdefault(case.case.kind, zeros)
        name = "poor" if case.poor else "good"
        counts[name] += 1
        counts[f"{name}_flagged"] += case.flagged
    return table


def _share(hits: Iterable[bool]) -> float:
    hits = list(hits)
    return sum(hits) / len(hits) if hits else float("nan")


def draw_curves(groups: dict[str, Sequence[Judged]], path: Path) -> None:
    """Draw the curve of every group; of all cases, confidence against Dice; and the flagged of every kind."""
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.8), constrained_layout=True)
    for name, group in groups.items():
        false, true, area = roc(group)
        left.plot(false, true, label=f"{name}: area {area:.3f}")
        confidence = [case.quality.confidence for case in group]
        middle.scatter([case.dice for case in group], confidence, s=9, alpha=0.6, label=name)
    left.set(xlabel="good masks called poor", ylabel="poor masks called poor", title="1 - confidence")
    middle.axvline(POOR_DICE, color="grey", linewidth=0.8, linestyle="--")
    middle.set(xlabel="Dice (0: no chest)", ylabel="confidence", title="Confidence and Dice")
    table = by_kind([case for group in groups.values() for case in group])
    places = np.arange(len(table))[::-1]
    for shift, name, colour in ((0.2, "poor", "tab:red"), (-0.2, "good", "tab:blue")):
        counts = [(row[name], row[f"{name}_flagged"]) for row in table.values()]
        shares = [100 * flagged / count if count else 0 for count, flagged in counts]
        label = f"Dice {'<' if name == 'poor' else '≥'} {POOR_DICE:.2f}"
        bars = right.barh(places + shift, shares, 0.38, color=colour, label=label)
        right.bar_label(
            bars, [f"{flagged}/{count}" if count else "" for count, flagged in counts], fontsize=7
        )
    right.set(xlim=(0, 118), ylim=(-0.7, len(table) + 0.9), xlabel="masks with a flag, %", title="Any flag")
    right.set_yticks(places, [kind.replace("_", " ") for kind in table])
    for panel in (left, middle, right):
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


# Constants of `lungfield.mask.quality` ----------------------------------------------------------------------


def fit_confidence(cases: Sequence[Judged]) -> dict[str, float]:
    """Logistic regression of a Dice of at least 0.90 on the features of the confidence, ridge 1."""
    names = tuple(quality.COEFFICIENTS)
    found = [case for case in cases if case.quality.features["area_fraction"]]
    values = np.array([[case.quality.features[name] for name in names] for case in found])
    good = np.array([not case.poor for case in found])
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    standardised = (values - mean) / deviation

    def loss(weights: NDArray[np.floating]) -> float:
        log_odds = weights[0] + standardised @ weights[1:]
        return np.logaddexp(0, np.where(good, -log_odds, log_odds)).sum() + 0.5 * (weights[1:] ** 2).sum()

    weights = optimize.minimize(loss, np.zeros(len(names) + 1)).x
    slopes = weights[1:] / deviation
    intercept = weights[0] - slopes @ mean
    return {
        name: round(float(value), 2)
        for name, value in zip(("intercept", *names), (intercept, *slopes), strict=True)
    }


def build_atlas(masks: Sequence[Mask], *, side: int = 16) -> list[str]:
    """How often a place of the lungs' bounding box is lung in the training references, in ninths."""
    size = (side, side)
    cropped = [mask[bounding_box(mask)].astype(np.float32) for mask in track(masks, "Averaging references")]
    mean = np.mean([transform.resize(one, size, order=1, anti_aliasing=True) for one in cropped], axis=0)
    return ["".join(map(str, row)) for row in np.round(9 * (mean + mean[:, ::-1]) / 2).astype(int)]


def fit_mirror(masks: Sequence[Mask], *, ridge: float = 5.0) -> list[list[int]]:
    """Logistic regression without intercept on the training references, against their mirror images."""
    values = np.array([mirror.asymmetry(mask[bounding_box(mask)]) for mask in masks])

    def loss(weights: NDArray[np.floating]) -> float:
        return np.logaddexp(0, -values @ weights).sum() + 0.5 * ridge * weights @ weights

    def gradient(weights: NDArray[np.floating]) -> NDArray[np.floating]:
        return ridge * weights - values.T @ special.expit(-values @ weights)

    weights = optimize.minimize(loss, np.zeros(values.shape[1]), jac=gradient, method="L-BFGS-B").x
    return np.round(10 * weights).astype(int).reshape(len(weights) // 8, 8).tolist()


def main(
    dataset_dir: Path,
    output: Path = typer.Option(Path("runs/flags"), "-o", "--output"),
    bundle: list[str] = typer.Option(
        ["unet"], help="Name or folder; with ':shenzhen' behind it, only that data set's radiographs."
    ),
    fit: bool = typer.Option(False, help="Print the constants that the cases for the fit give."),
    threads: int = typer.Option(1, help="Threads of torch."),
) -> None:
    """Segment the cases that are not there yet, judge all, and write what the flags are worth."""
    torch.set_num_threads(threads)
    judged: list[Judged] = []
    for spec in bundle:
        name, _, dataset = spec.partition(":")
        folder = output / "cases" / Path(name).name
        predictor = Predictor(find_bundle(name), device="cpu")
        for case in track(
            [*radiograph_cases(dataset_dir, dataset=dataset), *picture_cases()], f"Judging {name}"
        ):
            path = folder / f"{case.name}.npz"
            if not path.is_file():
                keep(segment(case, predictor), path)
            judged.append(judge(Path(name).name, case, path))
    if fit:
        print(json.dumps(fit_confidence([case for case in judged if case.case.role == "fit"]), indent=1))
        masks = [read_mask(Path(item["label"])) > 0 for item in load_data_list(dataset_dir, "training")]
        print(*build_atlas(masks), *fit_mirror(masks), sep="\n")
    rows = [_table_row(one) for one in judged]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_results_csv(rows, output / "cases.csv", columns=columns)
    tests = {
        name: [case for case in judged if case.bundle == name and case.case.role == "test"]
        for name in dict.fromkeys(case.bundle for case in judged)
    }
    summary = {name: _summary(cases) for name, cases in tests.items()}
    (output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    draw_curves(tests, output / "quality-flags.png")
    print(json.dumps({name: one["all"] for name, one in summary.items()}, indent=1))


def _summary(cases: Sequence[Judged]) -> dict[str, object]:
    clean = [case for case in cases if case.case.kind == "clean"]
    of_clean = Counter(str(flag) for case in clean for flag in case.flags_with_mirrored)
    return {
        "all": figures(cases),
        "radiographs": figures([case for case in cases if case.case.source != "picture"]),
        "clean": figures(clean),
        "kinds": by_kind(cases),
        "flags_of_clean": dict(of_clean),
    }


def _table_row(one: Judged) -> dict[str, object]:
    case = one.case
    known = {"bundle": one.bundle, "case": case.name, "role": case.role, "source": case.source}
    known |= {"kind": case.kind, "dice": one.dice, "confidence": one.quality.confidence}
    return {**known, "flags": list(one.flags_with_mirrored), **one.quality.features}


if __name__ == "__main__":
    typer.run(main)
