"""Hooks of MkDocs, named in mkdocs.yml, for pages that are also read in the repository.

Bundles' cards, the changelog and CONTRIBUTING become pages of the site, although they are outside of docs/.
Links have the same targets on the site as in the repository. Notebooks become pages, and the page of commands
gets their help texts.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("bundles/*/docs/README.md", "CHANGELOG.md", "CONTRIBUTING.md")

_COMMANDS = "<!-- commands -->"
_NOT_RUN = re.compile(r"^<!-- not run: .*? -->\n", re.MULTILINE)
_FENCE_OR_LINK = re.compile(
    r"^ *```.*?^ *```|(?<=\]\()(?P<target>[^)\s#:]+)(?=[)#])", re.MULTILINE | re.DOTALL
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/, and whatever outside of it a page links to."""
    from mkdocs.structure.files import File

    def add(place: str) -> None:
        path, uri = ROOT / place, site_place(place)
        if path.is_file() and uri not in files.src_uris:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
        elif path.is_dir() and f"{uri}/README.md" not in files.src_uris:
            names = sorted(file.name for file in path.iterdir())
            for name in names:
                add(f"{place}/{name}")
            text = "\n".join([f"# {place}\n", *(f"- [{name}]({name})" for name in names)])
            files.append(File.generated(config, f"{uri}/README.md", content=text))

    for notebook in sorted((ROOT / "docs").glob("notebooks/*.ipynb")):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=notebook_page(notebook)))
    for pattern in OUTSIDE:
        for page in sorted(ROOT.glob(pattern)):
            add(page.relative_to(ROOT).as_posix())
    for file in list(files.documentation_pages()):
        for match in _FENCE_OR_LINK.finditer(file.content_string):
            place = _resolved(repository_place(file.src_uri), match["target"] or "")
            if match["target"] and not place.startswith("docs/"):
                add(place)
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Convert links to the site's paths, remove comments for the tests, and insert the help texts."""
    here = repository_place(page.file.src_uri)

    def turn(match: re.Match[str]) -> str:
        if match["target"] is None:
            return match[0]
        place = _resolved(here, match["target"])
        uri = site_place(place) + ("/README.md" if (ROOT / place).is_dir() else "")
        if not page.file.src_uri.startswith("notebooks/"):  # a notebook's page links to the file itself
            uri = re.sub(r"\.ipynb$", ".md", uri)
        return posixpath.relpath(uri, posixpath.dirname(page.file.src_uri))

    markdown = _FENCE_OR_LINK.sub(turn, _NOT_RUN.sub("", markdown))
    if markdown.startswith("## "):  # the results, which are sections where they are made
        markdown = markdown[1:]
    return markdown.replace(_COMMANDS, commands()) if _COMMANDS in markdown else markdown


def on_page_content(html: str, *, page: Page, **_: object) -> str:
    """Hide the table of contents of a page without sections, so that tables get the full width."""
    if not any(item.children for item in page.toc):
        page.meta["hide"] = ["toc"]
    return html


def commands() -> str:
    """The help texts of `lungfield` and all of its commands, as Markdown."""
    words = [sys.executable, "-m", "typer", "lungfield.cli.main", "utils", "docs", "--name", "lungfield"]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return text.partition("\n")[2]  # the page has a title of its own


def notebook_page(path: Path) -> str:
    """A tutorial as Markdown, with a link to the notebook that can be run."""
    from nbconvert import MarkdownExporter

    text, _ = MarkdownExporter().from_filename(str(path))
    title, _, rest = text.strip().partition("\n")
    return f"{title}\n\n[Download as a notebook]({path.name})\n{rest}\n"


def site_place(place: str) -> str:
    """A path in the repository -> its place below the site's root."""
    return "index.md" if place == "README.md" else place.removeprefix("docs/")


def repository_place(uri: str) -> str:
    """A page's place below the site's root -> its path in the repository."""
    return f"docs/{uri}" if (ROOT / "docs" / uri).is_file() else uri


def _resolved(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
