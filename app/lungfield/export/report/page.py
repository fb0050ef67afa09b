"""Write the report: compute its counts, and render the template."""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from lungfield.atomic import write_whole
from lungfield.export.report.columns import MAIN, OUTPUTS, Column, describe
from lungfield.export.report.histograms import Histogram, histogram
from lungfield.export.report.messages import FLAGS, REASONS
from lungfield.export.report.rows import Table, collect
from lungfield.export.report.thumbnails import MEDIA_TYPE, embed
from lungfield.export.tables import json_ready
from lungfield.labels import LEFT_LUNG, ONLY_LUNGS, RIGHT_LUNG, STRUCTURES
from lungfield.names import shown

DISCLAIMER = (
    "Research software. Not a medical device; not for diagnosis or treatment. "
    "A neural network drew these outlines. They can be wrong, also where no flag says so."
)

_BUDGET_BYTES = 20_000_000
_PAGE_SIZE = 60  # as in data.js
_SCRIPTS = ("data.js", "review.js", "list.js", "picture.js", "viewer.js")
_LABELS = [label for labels in STRUCTURES.values() for label in labels]
_SUMMARY = (
    "bundle",
    "bundle_version",
    "bundle_structures",
    "started",
    "seconds",
    "resumed",
    "agreement",
    "environment",
    "settings",
)


def write_report(
    path: Path,
    *,
    summary: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    overlay_root: Path,
    disclaimer: str = DISCLAIMER,
    budget_bytes: int = _BUDGET_BYTES,
    overview: Mapping[str, Any] | None = None,
    tables: str = "",
) -> None:
    """Write the report of a batch as one HTML page that loads nothing from any network.

    The page holds only the data in the rows. The worst files come first: failed, then flagged, then others,
    each sorted by Dice coefficient or, without a reference, by confidence. Thumbnails are embedded in this
    order up to the budget; further and large pictures are loaded from `overlay_root` by relative links.

    Args:
        path: the file to write.
        summary: data of the batch: `bundle` and `bundle_version`; `bundle_structures`, those of
            `lungfield.labels.STRUCTURES` that its overlays show; if known `started`, `seconds`, `agreement`
            (for each metric the fields of `lungfield.mask.Summary`), `environment` and `settings` (mappings);
            `resumed`, the number of files that an earlier part of the run had ended, not included in
            `seconds`. Numbers of files by status are counted from the rows.
        rows: one mapping per input, with the columns of results.csv: at least `file` and `status`; `flags` is
            a list; `overlay`, `mask` and the other outputs are paths below `overlay_root`, or empty.
        overlay_root: the folder of the rows' paths; on the same drive as `path`.
        disclaimer: at the top of the page.
        budget_bytes: size of the page up to which thumbnails are embedded. All rows are always included.
        overview: the result of `_overview` for all files, if the rows are a sample.
        tables: the folder of the tables with all files as a relative link, if the rows are a sample.

    Raises:
        OutputError: the file could not be written.
    """
    path = Path(path)
    table = collect(rows, overlay_root)
    names = (f"{structure}_area" for structure in (RIGHT_LUNG.name, LEFT_LUNG.name, "total"))
    areas = [f"{name}_mm2" if table.values(f"{name}_mm2") else f"{name}_px" for name in names]
    styles, theme = _styles(), _asset("theme.js")
    script = Markup("").join(map(_asset, _SCRIPTS))
    known = dict.fromkeys(_SUMMARY) | json_ready(summary)
    drawn = [label for name in known["bundle_structures"] or ONLY_LUNGS for label in STRUCTURES[name]]
    data = _script_json(
        {
            "id": _identity(known, table),
            "structures": [(label.name, label.title) for label in _LABELS] + [("total", "Total")],
            "outputs": OUTPUTS,
            "columns": [vars(column) for column in table.columns],
            "main": [name for name in MAIN if "_area_" not in name or name in areas],  # areas in one unit
            "rows": table.rows,
            "base": _address(overlay_root, path.parent),
            "mediaType": MEDIA_TYPE,
            "meanings": {"flag": FLAGS, "reason": REASONS},
        }
    )
    agreement = known["agreement"] or {}
    overview = overview or _overview(table)
    # Placeholders for the thumbnails, whose budget depends on the rest of the page.
    places = uuid.uuid4().hex, uuid.uuid4().hex
    page = (
        _template()
        .render(
            summary=known,
            disclaimer=disclaimer,
            overview=overview,
            shown=len(table.rows),
            tables=tables,
            rate=_rate(overview["files"] - (known["resumed"] or 0), known["seconds"]),
            flag_meanings=FLAGS,
            reason_meanings=REASONS,
            metrics=[(describe(name), figures) for name, figures in agreement.items()],
            metric_histograms=_histograms(table, agreement),
            histograms=_histograms(table, ("confidence", "cardiothoracic_ratio", *areas)),
            drawn=drawn,
            styles=styles,
            theme=theme,
            script=script,
            style_hash=_hash(styles),
            theme_hash=_hash(theme),
            script_hash=_hash(script),
            data=data,
            first_thumbnails=places[0],
            more_thumbnails=places[1],
        )
        .encode("utf-8")
    )
    thumbnails = embed(table.pictures, room_bytes=budget_bytes - len(page))
    first = _end_of_first_page(thumbnails)
    for place, some in zip(places, (thumbnails[:first], thumbnails[first:]), strict=True):
        page = page.replace(place.encode(), _script_json(some).encode())
    write_whole(path, page)


def _end_of_first_page(thumbnails: Sequence[str | None]) -> int:
    """The number of thumbnails that hold as many pictures as the first page shows files."""
    pictures = [index for index, one in enumerate(thumbnails) if one]
    return pictures[_PAGE_SIZE - 1] + 1 if len(pictures) >= _PAGE_SIZE else len(thumbnails)


def _identity(summary: Mapping[str, Any], table: Table) -> str:
    """An identifier of this report, under which the browser stores the review; it holds no file name."""
    files = "\0".join(sorted(map(str, table.values("file"))))
    run = "\0".join(str(summary[name]) for name in ("bundle", "bundle_version", "started"))
    return hashlib.sha256(f"{run}\0{files}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _overview(table: Table) -> dict[str, Any]:
    """Counts over all files: by status, and by reason and flag, the most frequent first."""
    ends = table.values("status")
    codes = table.values("reason_code") or [None] * len(ends)
    flags = table.values("flags")
    confidences = [value for value in table.values("confidence") if value is not None]
    statuses = Counter(ends)
    return {
        "files": len(ends),
        **{status: statuses[status] for status in ("done", "skipped", "failed")},
        "flagged": sum(bool(some) for some in flags),
        "median_confidence": median(confidences) if confidences else None,
        "reasons": Counter((end, code) for end, code in zip(ends, codes, strict=True) if code).most_common(),
        "flags": Counter(flag for some in flags for flag in some or ()).most_common(),
    }


def _histograms(table: Table, names: Iterable[str]) -> list[Histogram]:
    found = (histogram(describe(name), table.values(name)) for name in names)
    return [one for one in found if one is not None]


def _address(folder: Path, start: Path) -> str:
    """The relative URL from one folder to another: '' or 'a/b/'."""
    way = Path(os.path.relpath(folder, start)).as_posix()
    return "" if way == "." else quote(os.fsencode(way)) + "/"


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader(__package__, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": Column.show,
        "grouped": "{:,}".format,
        "duration": _duration,
        "moment": _moment,
        "plain": _plain,
        "title_of": lambda name: describe(name).title,
    }
    return environment.get_template("report.html.j2")


def _visible(value: Any) -> Any:
    """A value for the template: hidden characters in text, such as a folder's name, are escaped."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _script_json(value: Any) -> Markup:
    """Compact JSON for a script element: '<', '>', '&' and all beyond ASCII are escaped."""
    return htmlsafe_json_dumps(value, separators=(",", ":"), allow_nan=False)


def _asset(name: str) -> Markup:
    """A file of this package, included in the page unchanged."""
    return Markup(resources.files(__package__).joinpath("assets", name).read_text("utf-8"))  # noqa: S704


def _styles() -> Markup:
    """The style sheet, with the colours of the structures in `lungfield.labels`."""
    names = {label.name.replace("_", "-"): label.colour_rgb for label in _LABELS}
    colours = "".join(f"--{name}: rgb{colour};" for name, colour in names.items())
    swatches = "".join(f".swatch.{name} {{ background: var(--{name}); }}\n" for name in names)
    return Markup(f":root {{ {colours} }}\n{swatches}") + _asset("style.css")  # noqa: S704


def _hash(text: str) -> str:
    """The hash of an inline text for the page's Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def _duration(seconds: float) -> str:
    """Seconds as text: '42 s', '7 min 30 s', '2 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if whole < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _rate(files: int, seconds: float | None) -> str:
    """Files per second, or per minute for a low rate; empty without a rate."""
    if files <= 0 or not seconds:
        return ""
    if files >= seconds:
        return f"{files / seconds:,.1f} files per second"
    return f"{60 * files / seconds:,.1f} files per minute"


def _moment(text: str) -> str:
    """A time in ISO 8601 as text, to the minute."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return text


def _plain(value: Any) -> str:
    """A setting as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items()) or "–"
    return str(value)
