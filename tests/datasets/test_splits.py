from __future__ import annotations

import json
from pathlib import Path

import pytest

from lungfield.datasets.splits import Split, parse_ratio, split_by_list, split_by_ratio
from lungfield.errors import DataError

JSRT = {f"JPCLN{n:03d}": "abnormal" for n in range(154)} | {f"JPCNN{n:03d}": "normal" for n in range(93)}


@pytest.mark.parametrize(
    ("total", "ratio", "expected"),
    [
        (247, "172:25:50", [172, 25, 50]),
        (566, "396:56:114", [396, 56, 114]),
        (11, "4:4:3", [4, 4, 3]),
        (10, "1:1:1", [4, 3, 3]),
        (10, "7:1:2", [7, 1, 2]),
        (5, "1:0:0", [5, 0, 0]),
        (1, "7:1:2", [1, 0, 0]),
        (10, "0.5:0.25:0.25", [5, 3, 2]),
    ],
)
def test_sizes_are_exact(total: int, ratio: str, expected: list[int]) -> None:
    sections = split_by_ratio({str(n): None for n in range(total)}, ratio)
    assert [len(names) for names in sections.values()] == expected
    assert sorted(name for names in sections.values() for name in names) == sorted(
        str(n) for n in range(total)
    )


def test_groups_get_their_share() -> None:
    sections = split_by_ratio(JSRT, "172:25:50")
    for names in sections.values():
        abnormal = sum(JSRT[name] == "abnormal" for name in names)
        assert abs(abnormal - len(names) * 154 / 247) <= 1


def test_seed_decides() -> None:
    assert split_by_ratio(JSRT, "7:1:2", seed=3) == split_by_ratio(JSRT, "7:1:2", seed=3)
    assert split_by_ratio(JSRT, "7:1:2", seed=3) != split_by_ratio(JSRT, "7:1:2", seed=4)


def test_order_of_names_does_not_matter() -> None:
    assert split_by_ratio(dict(reversed(JSRT.items())), "7:1:2") == split_by_ratio(JSRT, "7:1:2")


@pytest.mark.parametrize("ratio", ["7:1", "7:1:2:3", "a:b:c", "", "0:0:0", "-1:1:1", "nan:1:1", "inf:1:1"])
def test_bad_ratio(ratio: str) -> None:
    with pytest.raises(DataError, match="ratio"):
        parse_ratio(ratio)


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


EXPECTED = {"training": ["a", "b"], "validation": ["c"], "test": []}


@pytest.mark.parametrize(
    "content",
    [
        {"training": ["b", "a"], "validation": ["c"], "test": []},
        {"training": ["b.png", "a.png"], "validation": ["c"]},
        {"mine": {"training": ["b", "a"], "validation": ["c"]}, "other": {"test": ["z"]}},
        "name,section\nb,training\na,training\nc,validation\n",
        "b;training\na;training\n\n# a remark\nc;validation\n",
        "a training\nb  training\nc validation\n",
        "a\ttraining\nb\ttraining\nc\tvalidation",
    ],
)
def test_list_files(tmp_path: Path, content: object) -> None:
    path = write(tmp_path / "splits", content)
    assert split_by_list(["a", "b", "c", "in no section"], path, set_name="mine") == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": ["a", "x", "y"]}, "2 names.*'x'"),
        ({"training": ["a"], "test": ["a"]}, "'a' in both training and test"),
        ({"training": ["a"], "test": ["a.png"]}, "'a' in both training and test"),
        ({"training": ["a"], "val": ["b"]}, "unknown section 'val'"),
        ({"training": "a"}, "must be a list of names"),
        ({"other": {"training": ["a"]}}, "nor a set 'mine'.*There are: other"),
        ("{broken", "not valid JSON"),
        ("a,training\nb,somewhere\n", "Line 2"),
        ("a,training\nb,test\na,test", "'a' in both"),
        ("a,trainin\nb,test\n", "Line 1"),
    ],
)
def test_bad_list_files(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "splits", content)
    with pytest.raises(DataError, match=message):
        split_by_list(["a", "b"], path, set_name="mine")


def test_missing_list_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Split(file=tmp_path / "none.json").apply({"a": None}, set_name="mine")


def test_a_list_file_wins_over_the_ratio(tmp_path: Path) -> None:
    path = write(tmp_path / "splits.json", {"test": ["a"]})
    split = Split(ratio="nonsense", file=path)
    assert split.apply({"a": None}, set_name="mine")["test"] == ["a"]
    assert split.describe() == {"method": "list splits.json", "seed": None}
