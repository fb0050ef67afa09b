"""Pack bundles as the zips that MONAI's `download` and `load` take, with their checksums.

    python scripts/pack_bundle.py unet -o dist
    python scripts/pack_bundle.py all -o dist --without-weights
    python scripts/pack_bundle.py resnet101_unet -o dist --weights model.pt --weights-url https://.../model.pt

A bundle whose weights are not in its folder is refused, unless one of the last two says what is meant.
docs/model-zoo.md says more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from lungfield.bundles import all_bundles, find_bundle
from lungfield.errors import LungfieldError

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

_WORDS = {
    "inside": "with weights",
    "elsewhere": "its weights are to be downloaded, as large_files.yml says",
    "none": "WITHOUT WEIGHTS: whoever gets it has to train it",
}


@app.command()
def pack_bundle(
    bundle: str = typer.Argument(help="A shipped bundle's name, the folder of another, or all."),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for the zips and SHA256SUMS."),
    weights: Path | None = typer.Option(
        None, help="The weights that lie at --weights-url; by default the bundle's models/model.pt."
    ),
    weights_url: str | None = typer.Option(None, help="Where others get the weights; the zip has none then."),
    without_weights: bool = typer.Option(False, "--without-weights", help="Pack those that have none, too."),
) -> None:
    """Pack bundles for MONAI's model zoo, or for any place that serves files."""
    from packing import SUMS, pack, remote_weights, sha256, write

    bundles = all_bundles() if bundle == "all" else [find_bundle(bundle)]
    if weights is not None and weights_url is None:
        raise typer.BadParameter("needs --weights-url, where others get them", param_hint="--weights")
    if weights_url is not None and bundle == "all":
        raise typer.BadParameter("is for one bundle, not for all", param_hint="--weights-url")
    remote = remote_weights(bundles[0], weights or bundles[0].weights, weights_url) if weights_url else None
    packages = [pack(one, remote=remote, without_weights=without_weights) for one in bundles]
    write(packages, output)
    for package in packages:
        size = f"{len(package.content) / 1e6:.1f} MB"
        print(f"{output / package.name}: {size}, {_WORDS[package.weights]}, sha256 {sha256(package.content)}")
        if package.left_out:
            print(f"  left out: {', '.join(package.left_out)}")
    print(output / SUMS)


def main() -> None:
    """Run the command line; exit 2 with one message where a bundle cannot be packed."""
    try:
        app()
    except LungfieldError as error:
        print(f"pack_bundle: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
