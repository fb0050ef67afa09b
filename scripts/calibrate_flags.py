"""Calibrate and evaluate the quality flags on good and corrupted radiographs and pictures without a chest.

    python scripts/calibrate_flags.py DATASET_DIR -o runs/flags --bundle unet
    python scripts/calibrate_flags.py DATASET_DIR -o runs/flags --bundle unet --fit

A case is a prepared radiograph, unchanged or corrupted, or a picture without a chest (`hard_cases.py`). Each
is segmented once and stored under runs/flags/cases; then all are assessed. runs/flags/cases.csv has features,
Dice and flags of each case, summary.json the performance of the flags on the test cases, and
quality-flags.png the curves. Constants are fitted on the other cases: training and validation radiographs,
and every second picture; `--fit` prints those of `lungfield.mask.quality` and `lungfield.mask.mirror`.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from matplotlib import pyplot
from numpy.typing import NDArray
from rich.progress import track
from scipy import optimize
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
from lungfield.atomic import write_whole
from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import Predictor, lung_probability
from lungfield.datasets import load_data_list
from lungfield.export import write_results_csv, write_results_json
from lungfield.mask import agreement, mirror, quality, read_mask
from lungfield.mask.components import bounding_box
from lungfield.records import Radiograph

POOR_DICE = 0.90
GOOD_DICE = 0.95
TRAINING_IMAGES = 24
DRAWINGS_EACH = 6

Row = dict[str, Any]
"""A judged case, as cases.csv shows it."""


# Cases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One picture to segment and to assess.

    Attributes:
        name: the name of its file.
        role: 'fit' or 'test'.
        source: the data set, or 'picture' for a picture without a chest.
        kind: 'clean', the name of a degradation, or the content of the picture.
        load: returns pixels and reference; without a chest the reference is empty.
    """

    name: str
    role: str
    source: str
    kind: str
    load: Callable[[], tuple[Pixels, Mask]]


def radiograph_cases(dataset_dir: Path, dataset: str) -> Iterator[Case]:
    """Radiographs, unchanged and corrupted: in two ways each for the fit, in one way for the test."""
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
        for draw, seed in product(DRAWINGS, range(DRAWINGS_EACH))
    ]
    for (number, name, kind, make), sign in product(makers, ("positive", "negative")):
        load = partial(_without_chest, make, negative=sign == "negative")
        yield Case(f"picture-{name}-{sign}", ("fit", "test")[number % 2], "picture", kind, load)


def _without_chest(make: Callable[[], Pixels], *, negative: bool) -> tuple[Pixels, Mask]:
    pixels = make()
    return (1 - pixels if negative else pixels), np.zeros(pixels.shape, bool)


def segment(case: Case, predictor: Predictor) -> dict[str, NDArray]:
    """Segment a case and its mirror image.

    Returns:
        `label_map`, (H, W) uint8; `probabilities`, (h, w) float16 on the network's grid; `flipped`, the same
        of the mirrored picture, mirrored back; `pixels`, (H, W) uint8; and `dice`, the agreement with the
        reference, 0 where there is no chest.
    """
    pixels, reference = case.load()
    radiograph = Radiograph(Path(case.name), pixels)
    prepared = predictor.processing.prepare(radiograph)
    image = torch.as_tensor(prepared["image"])
    logits = predictor.logits(torch.stack([image, image.flip(-1)])).float().cpu()
    label_map = predictor.processing.finish(prepared, logits[0], radiograph).label_map
    return {
        "label_map": label_map,
        "probabilities": lung_probability(logits[0], predictor.processing.classes).astype(np.float16),
        "flipped": lung_probability(logits[1], predictor.processing.classes)[:, ::-1].astype(np.float16),
        "pixels": np.round(pixels * 255).astype(np.uint8),
        "dice": agreement(label_map, reference, spacing=None).dice if reference.any() else 0.0,
    }


# Performance of the flags -----------------------------------------------------------------------------------


def judge(bundle: str, case: Case, arrays: Mapping[str, NDArray]) -> Row:
    """Assess a segmented case, without and with the mirrored picture."""
    probabilities, flipped = (arrays[key].astype(np.float32) for key in ("probabilities", "flipped"))
    radiograph = Radiograph(Path(case.name), arrays["pixels"].astype(np.float32) / 255)
    alone = quality.assess(arrays["label_map"], probabilities, radiograph)
    with_mirrored = quality.assess(arrays["label_map"], probabilities, radiograph, flipped=flipped)
    return {
        "bundle": bundle,
        "case": case.name,
        "role": case.role,
        "source": case.source,
        "kind": case.kind,
        "dice": float(arrays["dice"]),
        "confidence": alone.confidence,
        "flags": list(with_mirrored.flags),
        "flags_without_mirrored": list(alone.flags),
        **alone.features,
    }


def is_poor(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Whether each mask should have been flagged."""
    return np.array([row["dice"] < POOR_DICE for row in rows], bool)


def is_flagged(rows: Sequence[Row], flags: str = "flags_without_mirrored") -> NDArray[np.bool_]:
    """Whether each mask has a flag."""
    return np.array([bool(row[flags]) for row in rows], bool)


def roc(rows: Sequence[Row]) -> tuple[NDArray[np.floating], NDArray[np.floating], float]:
    """The curve of `1 - confidence` as a test for poor masks: false and true positive rates, and its area."""
    score, poor = np.array([-row["confidence"] for row in rows]), is_poor(rows)
    called = score >= np.unique(score)[::-1, None]
    true, false = (np.append(0, called[:, which].mean(axis=1)) for which in (poor, ~poor))
    return false, true, float(np.trapezoid(true, false))


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """The performance of flags and confidence for finding poor masks."""
    poor, flagged, with_mirrored = is_poor(rows), is_flagged(rows), is_flagged(rows, "flags")
    good = np.array([row["kind"] == "clean" and row["dice"] >= GOOD_DICE for row in rows], bool)
    return {
        "cases": len(rows),
        "poor": int(poor.sum()),
        "auc": roc(rows)[2] if 0 < poor.sum() < len(rows) else float("nan"),
        "recall": _share(flagged[poor]),
        "precision": _share(poor[flagged]),
        "recall_with_mirrored": _share(with_mirrored[poor]),
        "clean_good": int(good.sum()),
        "clean_good_flagged": _share(flagged[good]),
        "clean_good_flagged_with_mirrored": _share(with_mirrored[good]),
    }


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if hits.size else float("nan")


def by_kind(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """For each kind of case the number of poor and of good masks, and of the flagged ones of both."""
    poor, flagged = is_poor(rows), is_flagged(rows)
    kinds = np.array([row["kind"] for row in rows])
    counted = {"poor": poor, "poor_flagged": poor & flagged, "good": ~poor, "good_flagged": ~poor & flagged}
    return {
        kind: {name: int(which[kinds == kind].sum()) for name, which in counted.items()}
        for kind in dict.fromkeys(kinds.tolist())
    }


def draw_curves(groups: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Draw the curve of each group, confidence against Dice, and the share of flagged masks by kind."""
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.8), constrained_layout=True)
    for name, group in groups.items():
        false, true, area = roc(group)
        left.plot(false, true, label=f"{name}: area {area:.3f}")
        dice, confidence = ([row[key] for row in group] for key in ("dice", "confidence"))
        middle.scatter(dice, confidence, s=9, alpha=0.6, label=name)
    left.set(xlabel="good masks called poor", ylabel="poor masks called poor", title="1 - confidence")
    middle.axvline(POOR_DICE, color="grey", linewidth=0.8, linestyle="--")
    middle.set(xlabel="Dice (0: no chest)", ylabel="confidence", title="Confidence and Dice")
    table = by_kind([row for group in groups.values() for row in group])
    places = np.arange(len(table))[::-1]
    for shift, name, colour in ((0.2, "poor", "tab:red"), (-0.2, "good", "tab:blue")):
        counts = [(row[name], row[f"{name}_flagged"]) for row in table.values()]
        shares = [100 * flagged / count if count else 0 for count, flagged in counts]
        label = f"Dice {'<' if name == 'poor' else '≥'} {POOR_DICE:.2f}"
        bars = right.barh(places + shift, shares, 0.38, color=colour, label=label)
        texts = [f"{flagged}/{count}" if count else "" for count, flagged in counts]
        right.bar_label(bars, texts, fontsize=7)
    right.set(xlim=(0, 118), ylim=(-0.7, len(table) + 0.9), xlabel="masks with a flag, %", title="Any flag")
    right.set_yticks(places, [kind.replace("_", " ") for kind in table])
    for panel in (left, middle, right):
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


# Constants --------------------------------------------------------------------------------------------------


def fit_confidence(rows: Sequence[Row]) -> dict[str, float]:
    """Logistic regression of a Dice of at least 0.90 on the features of the confidence, ridge 1."""
    names = tuple(quality.COEFFICIENTS)
    found = [row for row in rows if row["area_fraction"]]
    values = np.array([[row[name] for name in names] for row in found])
    poor = is_poor(found)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    standardised = (values - mean) / deviation

    def loss(weights: NDArray[np.floating]) -> float:
        log_odds = weights[0] + standardised @ weights[1:]
        return np.logaddexp(0, np.where(poor, log_odds, -log_odds)).sum() + 0.5 * (weights[1:] ** 2).sum()

    weights = optimize.minimize(loss, np.zeros(len(names) + 1)).x
    slopes = weights[1:] / deviation
    fitted = {"intercept": weights[0] - slopes @ mean, **dict(zip(names, slopes, strict=True))}
    return {name: round(float(value), 2) for name, value in fitted.items()}


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

    weights = optimize.minimize(loss, np.zeros(values.shape[1]), method="L-BFGS-B").x
    return np.round(10 * weights).astype(int).reshape(len(weights) // 8, 8).tolist()


def main(
    dataset_dir: Path,
    output: Path = typer.Option(Path("runs/flags"), "-o", "--output"),
    bundle: list[str] = typer.Option(
        ["unet"], help="Name or folder; with ':shenzhen' behind it, only that data set's radiographs."
    ),
    fit: bool = typer.Option(False, help="Print the constants fitted on the cases for the fit."),
    threads: int = typer.Option(1, help="Threads of torch."),
) -> None:
    """Segment the missing cases, assess all, and write the performance of the flags."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    for spec in bundle:
        place, _, dataset = spec.partition(":")
        name = Path(place).name
        predictor = Predictor(find_bundle(place), device="cpu")
        for case in track([*radiograph_cases(dataset_dir, dataset), *picture_cases()], f"Judging {name}"):
            path = output / "cases" / name / f"{case.name}.npz"
            if not path.is_file():
                np.savez_compressed(buffer := io.BytesIO(), **segment(case, predictor))
                write_whole(path, buffer.getvalue())
            with np.load(path) as arrays:
                rows.append(judge(name, case, arrays))
    if fit:
        print(json.dumps(fit_confidence([row for row in rows if row["role"] == "fit"]), indent=1))
        masks = [read_mask(Path(item["label"])) > 0 for item in load_data_list(dataset_dir, "training")]
        print(*build_atlas(masks), *fit_mirror(masks), sep="\n")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_results_csv(rows, output / "cases.csv", columns=columns)
    tests: dict[str, list[Row]] = {}
    for row in rows:
        if row["role"] == "test":
            tests.setdefault(row["bundle"], []).append(row)
    summary = {name: summarise(some) for name, some in tests.items()}
    write_results_json(summary, output / "summary.json")
    draw_curves(tests, output / "quality-flags.png")
    print(json.dumps({name: one["all"] for name, one in summary.items()}, indent=1))


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of all cases and of groups of them."""
    clean = [row for row in rows if row["kind"] == "clean"]
    return {
        "all": figures(rows),
        "radiographs": figures([row for row in rows if row["source"] != "picture"]),
        "clean": figures(clean),
        "kinds": by_kind(rows),
        "flags_of_clean": Counter(str(flag) for row in clean for flag in row["flags"]),
    }


if __name__ == "__main__":
    typer.run(main)
