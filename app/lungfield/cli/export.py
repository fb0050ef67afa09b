"""`lungfield export`: a bundle's network as a file for other programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from lungfield.bundles import DEFAULT_BUNDLE
from lungfield.cli.bar import Bar
from lungfield.names import shown


def export(
    bundle: str = typer.Argument(
        DEFAULT_BUNDLE, help="A shipped bundle's name, or the folder of another that you trust."
    ),
    format: str = typer.Option(..., help="torchscript (.ts), onnx (.onnx) or openvino (.xml and .bin)."),
    output: Path = typer.Option(..., "-o", "--output", help="File to write, with the suffix of its format."),
    any_size: bool = typer.Option(
        False,
        "--any-size",
        help="Let an ONNX file take any height and width (the export takes up to twice as long).",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one line of JSON instead of a summary."),
) -> None:
    """Export a bundle's network with its weights to TorchScript, ONNX or OpenVINO.

    The file also holds the bundle's metadata.json and inference.json. It is compared with the network on the
    sample radiographs, and kept only if they agree.
    """
    with Bar(f"Exporting {shown(bundle)} as {format}"):
        from lungfield.bundles import find_bundle
        from lungfield.bundles.exporting import export_network

        done = export_network(find_bundle(bundle), output, format, any_size=any_size)
    if as_json:
        print(json.dumps(asdict(done) | {"path": str(done.path)}))
        return
    print(
        f"{shown(str(done.path))}: {done.size_bytes / 1e6:.1f} MB. In float32, on {done.radiographs} "
        f"radiographs, its logits differ from the network's by {done.max_difference:.2g} at most (they reach "
        f"{done.largest_logit:.1f}); lowest Dice of the masks {done.least_dice:.6f}."
    )
