"""Tables of results: CSV for people and spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungfield.atomic import write_whole

_SIGNIFICANT_DIGITS = 6


def write_results_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV (RFC 4180, UTF-8) that spreadsheets and pandas read as they are.

    - The columns are those of all rows, in the order in which they first appear; what a row lacks is empty,
      and so are None and NaN.
    - Floats have six significant digits.
    - Text that a spreadsheet would run as a formula (it begins with `=`, `+`, `-` or `@`) gets an apostrophe
      before it.
    - A byte order mark, without which Excel garbles accents, is written just where there is more than ASCII.

    Args:
        rows: flat mappings from column to value.
        path: the file to write.

    Raises:
        OutputError: the file could not be written.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    if columns:
        writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    text = buffer.getvalue()
    # File names can hold bytes that are no text; they are shown escaped.
    write_whole(path, text.encode("ascii" if text.isascii() else "utf-8-sig", errors="backslashreplace"))


def write_results_json(results: Mapping[str, Any] | Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write results as indented JSON (UTF-8).

    Floats have six significant digits, NaN and infinity (which JSON lacks) become null, dataclasses become
    objects, arrays lists, and paths text.

    Args:
        results: rows, or one mapping; values may be nested.
        path: the file to write.

    Raises:
        OutputError: the file could not be written.
    """
    text = json.dumps(json_ready(results), indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8", errors="backslashreplace"))


def json_ready(value: Any) -> Any:
    """What JSON can hold: numbers rounded, numpy's types and dataclasses unwrapped."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_ready(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def _cell(value: Any) -> Any:
    """One value as CSV shows it."""
    value = json_ready(value)
    if isinstance(value, list):
        value = "; ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value
