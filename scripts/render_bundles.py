"""Render the configs of the bundles from their one source, bundles/source.

    python scripts/render_bundles.py           # writes bundles/<name>/configs/*.yaml
    python scripts/render_bundles.py --check   # writes nothing, and fails if a file is not up to date

A bundle is copied, packed and loaded alone, so each has the whole recipe in its own files. The common recipe
is in bundles/source/*.yaml, and the settings of a network in bundles/source/networks/<name>.yaml: its class
and options, the size of its input, and the start of its encoder. Jinja fills in << ... >> and <% ... %>.
"""

from __future__ import annotations

from pathlib import Path

import jinja2
import typer
import yaml

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
SOURCE = BUNDLES / "source"


def rendered() -> dict[Path, str]:
    """The text of every rendered config, by its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SOURCE),
        undefined=jinja2.StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, not HTML
    )
    texts = {}
    for file in sorted(SOURCE.glob("networks/*.yaml")):
        network = yaml.safe_load(file.read_text(encoding="utf-8"))
        for recipe in sorted(SOURCE.glob("*.yaml")):
            text = environment.get_template(recipe.name).render(name=file.stem, **network)
            texts[BUNDLES / file.stem / "configs" / recipe.name] = text
    return texts


def main(
    check: bool = typer.Option(False, "--check", help="Write nothing; fail where a file differs."),
) -> None:
    """Write the configs, or check that they are up to date."""
    texts = rendered()
    stale = [
        path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if check and stale:
        names = ", ".join(str(path.relative_to(BUNDLES)) for path in stale)
        raise SystemExit(f"Not what bundles/source gives: {names}. Run scripts/render_bundles.py.")
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path], encoding="utf-8")
    print(f"{len(texts)} configs, {0 if check else len(stale)} written")


if __name__ == "__main__":
    typer.run(main)
