"""Write tables of results: CSV for people and spreadsheets, JSON and Parquet for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lungfield.atomic import write_whole
from lungfield.labels import CLAVICLES, HEART
from lungfield.mask.density import Density
from lungfield.mask.heart import HeartMeasurements, NoRatio
from lungfield.mask.measurements import Extent, Measurements
from lungfield.mask.metrics import Agreement
from lungfield.names import as_text, json_escaped, shown

_SIGNIFICANT_DIGITS = 6
_ROWS_AT_ONCE = 4096


_NOTHING = Extent(area_px=0, height_px=0, width_px=0)
_MEASURED = {
    **Measurements(_NOTHING, _NOTHING, _NOTHING).to_row(),
    **Density(None, None, None).to_row(),
    **HeartMeasurements(NoRatio.NO_HEART, heart_area_px=0).to_row(),
}
_WHOLE_PIXELS = ("_px", "_row", "_column")

RESULT_COLUMNS: Mapping[str, type] = MappingProxyType(
    {
        "file": str,
        "status": str,
        "reason_code": str,
        "reason": str,
        "flags": list,
        "confidence": float,
        "warnings": str,
        "format": str,
        "rows": int,
        "columns": int,
        "view": str,
        "row_spacing_mm": float,
        "column_spacing_mm": float,
        "spacing_source": str,
        **{name: int if name.endswith(_WHOLE_PIXELS) else float for name in _MEASURED},
        "ctr_reason": str,
        "spacing_plane": str,
        **{field.name: float for field in dataclasses.fields(Agreement)},
        "distance_unit": str,
        "reference_match": str,
        "bundle": str,
        "bundle_version": str,
        "mask": str,
        "overlay": str,
        "preview": str,
        "seg": str,
        "sr": str,
        "sc": str,
        "nifti": str,
        **{f"{label.name}_{kind}": str for label in (HEART, *CLAVICLES) for kind in ("mask", "nifti")},
        "seconds": float,
    }
)
"""The columns of a table of results in order, with their types; `list` is a list of str."""


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns that occur in rows: first those of `RESULT_COLUMNS`, then others in order of appearance."""
    found = dict.fromkeys(column for row in rows for column in row)
    known = [name for name in RESULT_COLUMNS if name in found]
    return known + [name for name in found if name not in RESULT_COLUMNS]


def write_results_csv(
    rows: Iterable[Mapping[str, Any]], path: Path, *, columns: Sequence[str] | None = None
) -> None:
    """Write rows as CSV (RFC 4180, UTF-8) for spreadsheets and pandas.

    - Missing values, None and NaN are empty.
    - Floats have six significant digits.
    - The flags of a file are joined by spaces, other lists by semicolons.
    - Text that a spreadsheet would run as a formula (it begins with `=`, `+`, `-` or `@`) is prefixed with an
      apostrophe.
    - Control characters and bytes that are no valid text are escaped (`lungfield.names`).
    - A byte order mark, which Excel needs for accents, is written only if there are non-ASCII characters.

    Args:
        rows: flat mappings from column to value; iterated once if `columns` are given, else twice.
        path: the file to write.
        columns: the columns in their order, such as `RESULT_COLUMNS`; by default `columns_of` the rows.

    Raises:
        OutputError: the file could not be written.
    """
    rows, names = _rows_and_columns(rows, columns)
    buffer = io.BytesIO()
    text = io.TextIOWrapper(buffer, encoding="utf-8", newline="")
    writer = csv.writer(text)
    if names:
        writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(row.get(name), name) for name in names] for row in rows)
    text.flush()
    content = buffer.getvalue()
    write_whole(path, content if content.isascii() else b"\xef\xbb\xbf" + content)


def write_results_json(
    results: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    path: Path,
    *,
    files: Iterable[Mapping[str, Any]] | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """Write results as indented JSON (UTF-8).

    Floats have six significant digits, NaN and infinity (which JSON lacks) become null, dataclasses become
    objects, arrays become lists, and paths text. File names are exact: `os.fsencode` returns the bytes of a
    name that is no valid text (PEP 383). Hidden characters are written as JSON escapes.

    Args:
        results: rows, or one mapping; values may be nested.
        path: the file to write.
        files: rows to add to the mapping under 'files', one per line, each with all of the columns;
            iterated once if `columns` are given, else twice.
        columns: those of `files` in their order, such as `RESULT_COLUMNS`; by default `columns_of` them.

    Raises:
        OutputError: the file could not be written.
    """
    if files is None:
        write_whole(path, _json_text(results, indent=2) + b"\n")
        return
    rows, names = _rows_and_columns(files, columns)
    head = _json_text({**dict(results), "files": []}, indent=2)  # type: ignore[arg-type]
    buffer = io.BytesIO()
    buffer.write(head.removesuffix(b"]\n}"))
    separator = b"\n    "
    for row in rows:
        buffer.write(separator + _json_text({name: row.get(name) for name in names}))
        separator = b",\n    "
    buffer.write(b"\n  ]\n}\n")
    write_whole(path, buffer.getvalue())


def write_results_parquet(
    rows: Iterable[Mapping[str, Any]], path: Path, *, columns: Sequence[str] | None = None
) -> None:
    """Write rows as Parquet with types, for pandas, Polars, DuckDB and R.

    Columns have the types of `RESULT_COLUMNS`; other columns are text. Missing values, None, NaN, infinity
    and empty text are null. Floats are not rounded. Arguments and errors are those of `write_results_csv`.
    """
    # Imported on use: the import is slow.
    import pyarrow
    import pyarrow.parquet

    rows, names = _rows_and_columns(rows, columns)
    kinds = {name: RESULT_COLUMNS.get(name, str) for name in names}
    types = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        list: pyarrow.list_(pyarrow.string()),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    buffer = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(buffer, schema) as writer:
        remaining = iter(rows)
        while some := list(islice(remaining, _ROWS_AT_ONCE)):
            values = [[_typed(row.get(name), kind) for row in some] for name, kind in kinds.items()]
            arrays = [pyarrow.array(value, field.type) for value, field in zip(values, schema, strict=True)]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
    write_whole(path, buffer.getvalue())


def json_ready(value: Any) -> Any:
    """Convert a value for JSON: floats rounded, numpy types and dataclasses converted."""
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


def _rows_and_columns(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None
) -> tuple[Iterable[Mapping[str, Any]], list[str]]:
    """The rows, and the columns to write of them."""
    if columns is not None:
        return rows, list(columns)
    if isinstance(rows, Iterator):
        rows = list(rows)  # an iterator would be empty on the second pass
    return rows, columns_of(rows)


def _json_text(value: Any, indent: int | None = None) -> bytes:
    return json_escaped(json.dumps(json_ready(value), indent=indent, ensure_ascii=False)).encode("utf-8")


def _cell(value: Any, column: str = "") -> Any:
    """Convert a value for CSV."""
    value = json_ready(value)
    if isinstance(value, list):
        separator = " " if RESULT_COLUMNS.get(column) is list else "; "
        value = separator.join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value = shown(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value


def _typed(value: Any, kind: type) -> Any:
    """Convert a value for Parquet; None if it is missing."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind is list:
        return [_text(item) for item in value]
    return _text(value) or None if kind is str else kind(value)


def _text(value: Any) -> str:
    """Convert a value to valid UTF-8 text: lists joined, other bytes escaped."""
    if isinstance(value, (list, tuple)):
        value = "; ".join(str(item) for item in value)
    return as_text(str(value))
