"""`lungfield prepare`: prepare public data sets and own folders in a common layout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungfield.bundles import DEFAULT_BUNDLE
from lungfield.cli.bar import Bar

if TYPE_CHECKING:
    from lungfield.datasets import PreparedSet, Split
    from lungfield.training.pseudo_labels import PseudoLabels

app = typer.Typer(
    name="prepare",
    no_args_is_help=True,
    help="Prepare data for training and evaluation: public sets, or your own folders.",
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the prepared set.")]
Ratio = Annotated[str, typer.Option(help="Training, validation and test, as a ratio or as exact counts.")]
Seed = Annotated[int, typer.Option(help="Seed of the shuffle.")]
SplitFile = Annotated[
    Path | None, typer.Option(help="File that defines the split instead: JSON, or CSV of name and section.")
]
Folds = Annotated[
    int,
    typer.Option(min=0, help="Also divide training and validation into this many folds, for --fold."),
]
MaxSide = Annotated[int, typer.Option(min=0, help="Longer side of the images in pixels; 0 keeps every size.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of a summary.")]

SOURCE_HELP = "Folder with the unpacked original files."


@app.command()
def shenzhen(
    source: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    output: Output,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of CHNCXR_0001_0_mask.png and so on; by default below SOURCE.")
    ] = None,
    split: Ratio = "7:1:2",
    seed: Seed = 0,
    split_file: SplitFile = None,
    folds: Folds = 0,
    max_side: MaxSide = 1024,
    as_json: AsJson = False,
) -> None:
    """Prepare the Shenzhen set: the radiographs that have a mask of both lungs."""
    with Bar("Shenzhen") as bar:
        from lungfield.datasets import Split, prepare_shenzhen

        options = _common(Split(split, seed, split_file, folds), max_side, bar)
        result = prepare_shenzhen(source, output, masks=masks, **options)
    _report(result, as_json=as_json)


@app.command()
def montgomery(
    source: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    output: Output,
    split: Ratio = "7:1:2",
    seed: Seed = 0,
    split_file: SplitFile = None,
    folds: Folds = 0,
    max_side: MaxSide = 1024,
    as_json: AsJson = False,
) -> None:
    """Prepare the Montgomery County set, with a mask of each lung."""
    with Bar("Montgomery") as bar:
        from lungfield.datasets import Split, prepare_montgomery

        options = _common(Split(split, seed, split_file, folds), max_side, bar)
        result = prepare_montgomery(source, output, **options)
    _report(result, as_json=as_json)


@app.command()
def jsrt(
    source: Annotated[Path, typer.Argument(help=SOURCE_HELP)],
    output: Output,
    masks: Annotated[
        Path | None, typer.Option(help="Folder with the unpacked SCR masks; by default below SOURCE.")
    ] = None,
    split: Ratio = "7:1:2",
    seed: Seed = 0,
    split_file: SplitFile = None,
    folds: Folds = 0,
    max_side: MaxSide = 1024,
    as_json: AsJson = False,
) -> None:
    """Prepare the JSRT set (.IMG) with the masks of SCR (.gif): lungs, heart and clavicles."""
    with Bar("JSRT") as bar:
        from lungfield.datasets import Split, prepare_jsrt

        options = _common(Split(split, seed, split_file, folds), max_side, bar)
        result = prepare_jsrt(source, output, masks=masks, **options)
    _report(result, as_json=as_json)


@app.command()
def folders(
    images: Annotated[Path, typer.Option(help="Folder of radiographs.")],
    output: Output,
    masks: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of masks of both lungs or of label maps; may be repeated."),
    ] = None,
    right_masks: Annotated[Path | None, typer.Option(help="Folder of masks of the right lung.")] = None,
    left_masks: Annotated[Path | None, typer.Option(help="Folder of masks of the left lung.")] = None,
    outer_masks: Annotated[
        Path | None, typer.Option(help="Folder of contours around the lungs that include the mediastinum.")
    ] = None,
    ignore_masks: Annotated[
        Path | None, typer.Option(help="Folder of masks of the pixels whose class is unknown.")
    ] = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER",
            help="Folder of masks of a further structure: heart, right_clavicle, left_clavicle or your own; "
            "may be repeated.",
        ),
    ] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="There are no masks.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the set; by default that of the output folder.")
    ] = None,
    spacing_mm: Annotated[
        float | None, typer.Option(help="Pixel spacing in mm, for images without one.")
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="The images show lungs bright.")] = False,
    split: Ratio = "7:1:2",
    seed: Seed = 0,
    split_file: SplitFile = None,
    folds: Folds = 0,
    max_side: MaxSide = 1024,
    as_json: AsJson = False,
) -> None:
    """Prepare a folder of images and folders of masks of the same names."""
    with Bar("Images") as bar:
        from lungfield.datasets import SetDescription, Split, prepare_folders

        result = prepare_folders(
            images,
            output,
            masks=masks or (),
            right_masks=right_masks,
            left_masks=left_masks,
            outer_masks=outer_masks,
            ignore_masks=ignore_masks,
            structures=_named_folders(structure or ()),
            unlabelled=unlabelled,
            description=SetDescription(name) if name else None,
            spacing_mm=(spacing_mm, spacing_mm) if spacing_mm else None,
            invert=invert,
            **_common(Split(split, seed, split_file, folds), max_side, bar),
        )
    _report(result, as_json=as_json)


@app.command("pseudo-labels")
def pseudo_labels(
    source: Annotated[Path, typer.Argument(help="A prepared set, without labels or with partial ones.")],
    output: Output,
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="The teacher: a bundle's name or folder.")] = (
        DEFAULT_BUNDLE
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Label a prepared set with a trained network, and complete its partial labels."""
    with Bar("Pseudo-labels") as bar:
        from lungfield.bundles import find_bundle
        from lungfield.bundles.predictor import Predictor
        from lungfield.training.pseudo_labels import make_pseudo_labels

        teacher = Predictor(find_bundle(bundle), device=device)
        result = make_pseudo_labels(source, output, teacher, track=bar.track)
    doubtful = [f"{len(result.doubtful)} radiographs were left out as doubtful"] if result.doubtful else []
    _print_result(result, doubtful, as_json=as_json)


def _named_folders(options: Sequence[str]) -> dict[str, Path]:
    """The folders of further structures by name; `DataError` if an option is not NAME=FOLDER."""
    from lungfield.errors import DataError

    folders: dict[str, Path] = {}
    for option in options:
        name, equals, folder = option.partition("=")
        if not (name and equals and folder) or name in folders:
            raise DataError(f"--structure {option}: give each structure once, as NAME=FOLDER.")
        folders[name] = Path(folder)
    return folders


def _common(split: Split, max_side: int, bar: Bar) -> dict[str, Any]:
    """The arguments that all preparing functions share."""
    return {"split": split, "max_side": max_side or None, "track": bar.track}


def _report(result: PreparedSet, *, as_json: bool) -> None:
    remarks = {
        "images have no mask": result.images_without_mask,
        "masks have no image": result.masks_without_image,
        "images are in no section of the list": result.in_no_section,
        "images had masks named for the wrong side, and their position was used": result.sides_by_position,
    }
    lines = [f"{len(names)} {remark}, the first: {names[0]}" for remark, names in remarks.items() if names]
    _print_result(result, lines, as_json=as_json)


def _print_result(result: PreparedSet | PseudoLabels, remarks: list[str], *, as_json: bool) -> None:
    """Print a result as JSON, or its counts, and remarks on standard error."""
    if as_json:
        print(json.dumps({**asdict(result), "folder": str(result.folder)}))
        return
    for remark in remarks:
        print(remark, file=sys.stderr)
    counts = ", ".join(f"{count} {section}" for section, count in result.counts.items())
    print(f"{result.folder}: {counts}")
