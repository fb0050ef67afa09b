import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lungfield.export import write_results_csv, write_results_json


def read(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_of_all_rows_in_order(tmp_path):
    write_results_csv([{"file": "a", "dice": 0.5}, {"file": "b", "reason": "lateral"}], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b"file,dice,reason\r\na,0.5,\r\nb,,lateral\r\n"


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
            "text": 'a "b", c\nd',
        }
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", "\r=1"])
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
    assert read(tmp_path / "a.csv") == [{"file": "a\\udcff.dcm"}]
    write_results_json([{"file": name}], tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == [{"file": name}]


def test_no_rows(tmp_path):
    write_results_csv([], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b""
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
