"""Compare the cardiothoracic ratio with that of reference masks: tables, and a Bland-Altman plot.

    python scripts/compare_heart_ratios.py data/jsrt -o runs/ratios --plot docs/figures/ctr_bland_altman.png

Both ratios are measured by `lungfield.mask.measure_heart`, one on the masks of the bundle's network and one
on the references. Writes ratios.csv, a row a radiograph, and ratios.json: the mean absolute error, the bias
(network minus reference) and the 95 % limits of agreement, bias ± 1.96 standard deviations of the differences
(Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.progress import track

from lungfield.bundles import DEFAULT_BUNDLE
from lungfield.datasets import load_data_list
from lungfield.export import write_results_csv, write_results_json
from lungfield.labels import CLAVICLES, HEART
from lungfield.mask import Regions, measure_heart, read_mask
from lungfield.pipeline import Segmenter
from lungfield.radiograph import read_radiograph
from lungfield.transforms import read_structures


def main(
    dataset_dir: Path,
    output: Path = typer.Option(..., "--output", "-o", help="Folder of the two tables."),
    plot: Path | None = typer.Option(None, help="Where the Bland-Altman plot goes."),
    bundle: str = typer.Option(DEFAULT_BUNDLE),
    section: str = typer.Option("test"),
) -> None:
    """Measure the ratio of every radiograph of a section twice, and compare."""
    segmenter = Segmenter(bundle)
    items = load_data_list(dataset_dir, section, labelled=True, structures=["heart", "clavicles"])
    rows = [row(segmenter, item) for item in track(items, f"{len(items)} radiographs")]
    both = [one for one in rows if one["ratio"] is not None and one["reference_ratio"] is not None]
    if len(both) < 2:
        raise SystemExit(f"{len(both)} radiographs have both ratios: too few to compare.")
    ratios = np.array([(one["ratio"], one["reference_ratio"]) for one in both])
    summary = agreement_of(ratios) | {"radiographs": len(rows), "compared": len(both)}
    output.mkdir(parents=True, exist_ok=True)
    write_results_csv(rows, output / "ratios.csv")
    write_results_json(summary, output / "ratios.json")
    if plot is not None:
        draw(ratios, summary, plot)
    print(", ".join(f"{name} {value:.4f}" for name, value in summary.items() if isinstance(value, float)))


def row(segmenter: Segmenter, item: dict[str, Any]) -> dict[str, Any]:
    """The two ratios of a radiograph, or why there is none."""
    heart = segmenter(read_radiograph(Path(item["image"]), require_frontal=False)).heart
    if heart is None:
        raise SystemExit(f"The network of the bundle {segmenter.bundle.name} does not segment the heart.")
    names = [label.name for label in (HEART, *CLAVICLES)]
    found = zip(names, read_structures(item["structures"], names), strict=True)
    masks = {name: mask for name, mask in found if mask is not None}
    reference = measure_heart(Regions(read_mask(Path(item["label"])), masks), None)
    return {
        "id": item["id"],
        "ratio": heart.cardiothoracic_ratio,
        "reference_ratio": reference.cardiothoracic_ratio,
        "no_ratio": heart.no_ratio or "",
        "no_reference_ratio": reference.no_ratio or "",
    }


def agreement_of(ratios: np.ndarray) -> dict[str, Any]:
    """Error, bias and limits of agreement of ratios (N, 2), the network's and the reference's."""
    differences = ratios[:, 0] - ratios[:, 1]
    bias, spread = float(differences.mean()), float(1.96 * differences.std(ddof=1))
    return {
        "mean_absolute_error": float(np.abs(differences).mean()),
        "greatest_absolute_error": float(np.abs(differences).max()),
        "bias": bias,
        "lower_limit": bias - spread,
        "upper_limit": bias + spread,
    }


def draw(ratios: np.ndarray, summary: dict[str, Any], path: Path) -> None:
    """Plot the differences over the means, with bias and limits of agreement."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(ratios.mean(axis=1), ratios[:, 0] - ratios[:, 1], s=22, color="#005f9e", alpha=0.8)
    lines = {"bias": "-", "lower_limit": "--", "upper_limit": "--"}
    for name, style in lines.items():
        axes.axhline(summary[name], color="#444444", linestyle=style, linewidth=1)
        text = f"{name.replace('_', ' ')} {summary[name]:+.3f}"
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "xytext": (5, 0)}
        axes.annotate(text, (1, summary[name]), va="center", fontsize=9, annotation_clip=False, **place)
    axes.set_xlabel("mean of both cardiothoracic ratios")
    axes.set_ylabel("network minus reference")
    axes.set_title(f"Cardiothoracic ratio on {len(ratios)} radiographs")
    axes.margins(y=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    typer.run(main)
