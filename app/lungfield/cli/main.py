"""The `lungfield` command: registers the commands, and turns errors into messages."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.text import Text

from lungfield.cli import bundles, export, label, node, prepare, segment
from lungfield.errors import LungfieldError
from lungfield.names import shown_lines

app = typer.Typer(
    name="lungfield",
    help="Lung fields on frontal chest radiographs. Research software: not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="segment")(segment.segment)
app.command(name="bundles")(bundles.bundles)
app.command(name="label")(label.label)
app.command(name="export")(export.export)
app.add_typer(node.app, name="node")
app.add_typer(prepare.app, name="prepare")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"lungfield {version('lungfield')}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; exit with status 2 and a message for a wrong call."""
    try:
        app()
    except LungfieldError as error:
        # As text, not markup: a path may contain brackets.
        text = Text.assemble(("lungfield: ", "bold red"), shown_lines(str(error)))
        Console(stderr=True).print(text, soft_wrap=True)
        sys.exit(2)
