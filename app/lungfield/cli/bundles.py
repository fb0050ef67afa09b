"""`lungfield bundles`: list the bundles."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console

from lungfield.bundles import DEFAULT_BUNDLE, Bundle, all_bundles
from lungfield.bundles.classes import structures_given


def bundles(
    as_json: bool = typer.Option(False, "--json", help="Print a JSON list instead of a table."),
) -> None:
    """List the bundles with the figures measured on their test sets."""
    entries = [_describe(bundle) for bundle in all_bundles()]
    if as_json:
        print(json.dumps(entries))
        return
    from rich import box
    from rich.table import Table

    sets = list(dict.fromkeys(name for entry in entries for name in entry["dice"]))
    table = Table(
        title="Bundles, with their mean test Dice by data set",
        caption=f"Default: {DEFAULT_BUNDLE}. To train a bundle without weights, see its docs/README.md.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # so that all columns fit into 80 characters
        pad_edge=False,
    )
    for heading in ("bundle", "gives"):
        table.add_column(heading, no_wrap=True)
    for heading in ("input", "params", "weights", *sets):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        table.add_row(
            entry["name"],
            "\n".join(entry["structures"]),
            "x".join(map(str, entry["input_size"])),
            f"{entry['parameters'] / 1e6:.1f} M" if entry["parameters"] else "",
            f"{entry['weights_mb']:.1f} MB" if entry["has_weights"] else "none",
            *(f"{entry['dice'][name]:.3f}" if name in entry["dice"] else "" for name in sets),
        )
    Console().print(table)


def _describe(bundle: Bundle) -> dict[str, Any]:
    """One bundle, from its metadata alone."""
    metrics = bundle.metadata.get("eval_metrics", {})
    image = bundle.metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    return {
        "name": bundle.name,
        "default": bundle.name == DEFAULT_BUNDLE,
        "version": bundle.version,
        "description": bundle.metadata.get("description", ""),
        "structures": structures_given(bundle),
        "input_size": image.get("spatial_shape", []),
        "parameters": bundle.metadata.get("parameters"),
        "has_weights": bundle.has_weights,
        "weights_mb": round(bundle.weights.stat().st_size / 1e6, 1) if bundle.has_weights else None,
        "dice": {name: figures["dice"] for name, figures in metrics.items() if "dice" in figures},
        "metrics": metrics,
        "path": str(bundle.root),
    }
