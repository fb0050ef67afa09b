import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lungfield.export.tables import (
    RESULT_COLUMNS,
    columns_of,
    write_results_csv,
    write_results_json,
    write_results_parquet,
)
from lungfield.mask.density import Density
from lungfield.mask.measurements import measure
from lungfield.mask.metrics import agreement
from lungfield.mask.regions import Regions
from lungfield.records import Spacing


def read(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def rows():
    """A file that is done and compared, one that failed, and one that was skipped, unordered as they come."""
    labels = np.zeros((6, 7), dtype=np.uint8)
    labels[1:5, 1:3], labels[1:4, 4:6] = 1, 2
    spacing = Spacing(0.5, 0.25, "PixelSpacing")
    done = {
        "overlay": "overlays/a.jpg",
        "file": "a.dcm",
        "status": "done",
        "seconds": 0.25,
        "flags": ["area-small", "low-confidence"],
        "reason": "",
        "rows": np.int64(6),
        "row_spacing_mm": 0.5,
        **vars(agreement(labels, labels > 0, spacing=spacing)),
        **measure(Regions(labels), spacing).to_row(),
        **Density(None, None, None).to_row(),
    }
    failed = {"file": "b.dcm", "status": "failed", "reason_code": "damaged", "reason": "cut", "seconds": 1.0}
    skipped = {"file": "c.dcm", "status": "skipped", "confidence": math.nan, "flags": []}
    return [failed, done, skipped]


def test_columns_are_those_of_all_rows_in_order(tmp_path):
    write_results_csv(
        [{"file": "a", "other": 1, "dice": 0.5}, {"file": "b", "reason": "lateral"}], tmp_path / "a"
    )
    assert (tmp_path / "a").read_bytes() == b"file,reason,dice,other\r\na,,0.5,1\r\nb,lateral,,\r\n"


def test_every_column_of_a_result_is_known_with_its_type(rows):
    assert [name for name in columns_of(rows) if name not in RESULT_COLUMNS] == []
    for row in rows:
        for name, value in row.items():
            value = value.item() if isinstance(value, np.generic) else value
            assert value is None or isinstance(value, RESULT_COLUMNS[name]), name


@pytest.mark.parametrize("columns", [None, tuple(RESULT_COLUMNS)])
def test_all_three_say_the_same(tmp_path, rows, columns):
    # A generator can be gone through once only: so is the journal of a large run.
    write_results_csv((row for row in rows), tmp_path / "a.csv", columns=columns)
    write_results_json(
        {"summary": {"n": 3}}, tmp_path / "a.json", files=(row for row in rows), columns=columns
    )
    write_results_parquet((row for row in rows), tmp_path / "a.parquet", columns=columns)

    found = json.loads((tmp_path / "a.json").read_text())
    assert found["summary"] == {"n": 3}
    from_csv = read(tmp_path / "a.csv")
    from_parquet = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()
    names = list(columns or columns_of(rows))
    for table in (found["files"], from_csv, from_parquet):
        assert [list(row) for row in table] == [names] * 3
        assert [row["file"] for row in table] == ["b.dcm", "a.dcm", "c.dcm"]
    for in_json, in_csv, in_parquet in zip(found["files"], from_csv, from_parquet, strict=True):
        for name in names:
            value = in_parquet[name]
            assert (in_csv[name] == "") == (value in (None, []))
            assert in_json[name] in ((value,) if value is not None else (None, ""))
            if RESULT_COLUMNS[name] is float and value is not None:
                assert float(in_csv[name]) == value
    assert from_csv[1]["flags"] == "area-small low-confidence"
    assert from_csv[0]["reason_code"] == "damaged"


def test_parquet_has_types_and_nulls(tmp_path, rows):
    write_results_parquet(rows, tmp_path / "a.parquet", columns=RESULT_COLUMNS)
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    for field in table.schema:
        kind = RESULT_COLUMNS[field.name]
        assert field.type == (pyarrow.list_(pyarrow.string()) if kind is list else types[kind]), field.name
    assert table["flags"].to_pylist() == [None, ["area-small", "low-confidence"], []]
    assert table["right_lung_area_px"].to_pylist() == [None, 8, None]
    assert table["right_lung_area_mm2"].to_pylist() == [None, 1.0, None]
    assert table["confidence"].to_pylist() == [None, None, None]
    assert table["reason"].to_pylist() == ["cut", None, None]


def test_parquet_keeps_all_digits_and_odd_values(tmp_path):
    name = b"a\xff.dcm".decode("utf-8", errors="surrogateescape")
    row = {
        "file": name,
        "dice": 0.123456789012,
        "other": Path("x"),
        "warnings": ("one", "two"),
        "hd95": math.inf,
    }
    write_results_parquet([row], tmp_path / "a.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist() == [
        {"file": "a\\xff.dcm", "warnings": "one; two", "dice": 0.123456789012, "hd95": None, "other": "x"}
    ]


def test_parquet_of_more_rows_than_are_held_at_once(tmp_path):
    write_results_parquet(({"file": f"{n}", "rows": n} for n in range(10_000)), tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert table["rows"].to_pylist() == list(range(10_000))


def test_the_same_rows_give_the_same_bytes(tmp_path, rows):
    for write in (write_results_csv, write_results_parquet):
        write(rows, tmp_path / "a")
        write(rows, tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("results", [{}, {"summary": {"agreement": {"dice": 1}}, "files": "replaced"}])
def test_json_without_a_row(tmp_path, results):
    write_results_json(results, tmp_path / "a.json", files=[])
    assert json.loads((tmp_path / "a.json").read_text()) == {**results, "files": []}


def test_values(tmp_path):
    row = {
        "float": 0.123456789,
        "numpy": np.float32(0.1),
        "large": 123456.789,
        "negative": -1.5,
        "count": np.int64(7),
        "nan": math.nan,
        "none": None,
        "true": True,
        "path": Path("x.png"),
        "warnings": ("one", "two"),
        "text": 'a "b", c\nd',
    }
    write_results_csv([row], tmp_path / "a.csv")
    assert read(tmp_path / "a.csv") == [
        {
            "float": "0.123457",
            "numpy": "0.1",
            "large": "123457.0",
            "negative": "-1.5",
            "count": "7",
            "nan": "",
            "none": "",
            "true": "true",
            "path": "x.png",
            "warnings": "one; two",
            "text": 'a "b", c\\x0ad',
        }
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)"])
def test_formulas_are_defused(tmp_path, text):
    write_results_csv([{"file": text, "path": Path(text), "names": (text,)}], tmp_path / "a.csv")
    assert set(read(tmp_path / "a.csv")[0].values()) == {f"'{text}"}


@pytest.mark.parametrize(("name", "has_mark"), [("a.dcm", False), ("Müller 肺.dcm", True)])
def test_byte_order_mark_only_where_excel_needs_it(tmp_path, name, has_mark):
    write_results_csv([{"file": name}], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf") == has_mark
    assert read(tmp_path / "a.csv") == [{"file": name}]


def test_names_that_are_no_text(tmp_path):
    name = b"a\xff.dcm".decode("utf-8", errors="surrogateescape")
    write_results_csv([{"file": name}], tmp_path / "a.csv")
    assert read(tmp_path / "a.csv") == [{"file": "a\\xff.dcm"}]
    write_results_json([{"file": name}], tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == [{"file": name}]


def test_no_rows(tmp_path):
    write_results_csv([], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b""
    write_results_parquet([], tmp_path / "a.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 0
    write_results_json([], tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == []


@dataclass(frozen=True)
class Inner:
    mean: float
    count: int


def test_json(tmp_path):
    results = {
        "dice": Inner(0.987654321, 2),
        "values": [np.float64(0.1), math.nan, math.inf, None, True, np.bool_(False)],
        "path": Path("x/ü.png"),
        "array": np.array([1, 2]),
    }
    write_results_json(results, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "ü" in text
    assert json.loads(text) == {
        "dice": {"mean": 0.987654, "count": 2},
        "values": [0.1, None, None, None, True, False],
        "path": str(Path("x/ü.png")),
        "array": [1, 2],
    }


def test_json_keeps_names_and_shows_what_is_hidden(tmp_path):
    name = "胸_\x1b[31m\x9b\u202e\U000e0001" + b"\xe9.dcm".decode("utf-8", errors="surrogateescape")
    write_results_json({"a": name}, tmp_path / "a.json", files=[{"file": name}], columns=["file"])
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": name, "files": [{"file": name}]}
    assert all(line.isprintable() for line in text.splitlines())
    assert "胸_" in text


def test_parquet_keeps_names_but_for_bytes_that_are_no_text(tmp_path):
    names = ["a\u202eb\x1b.dcm", b"a\xff.dcm".decode("utf-8", errors="surrogateescape")]
    write_results_parquet([{"file": name} for name in names], tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert table.column("file").to_pylist() == [names[0], "a\\xff.dcm"]
