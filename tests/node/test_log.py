"""The node's log is JSON, one object a line, and tells of nobody whatever it is handed."""

import ast
import json
import logging
from pathlib import Path

import pytest

from lungfield.errors import OutputError
from lungfield.node import log

NAME = "Zzyzx^Quirinius"
UID = "1.2.826.0.1.3680043.8.498.1234567890"


@pytest.fixture
def entries(tmp_path):
    path = tmp_path / "logs" / "node.log"

    def read():
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    with log.logging_to(path):
        yield read


def test_an_entry_has_time_level_and_the_fields_that_are_allowed(entries):
    logging.getLogger("lungfield.node.x").info("sent", extra={"instance": 7, "destination": "pacs"})
    (entry,) = entries()
    assert entry["message"] == "sent"
    assert (entry["level"], entry["name"]) == ("INFO", "lungfield.node.x")
    assert (entry["instance"], entry["destination"]) == (7, "pacs")
    assert entry["timestamp"]


def test_fields_of_other_names_are_left_out(entries):
    logging.getLogger("lungfield.node.x").warning("odd", extra={"patient_name": NAME, "code": "damaged"})
    (entry,) = entries()
    assert entry["code"] == "damaged"
    assert NAME not in json.dumps(entry)


def test_uids_are_struck_out_and_addresses_stay(entries):
    logger = logging.getLogger("lungfield.node.x")
    logger.error("refused %s of 192.168.10.20:104", UID, extra={"peer": "10.0.0.1", "source": UID})
    (entry,) = entries()
    assert entry["message"] == "refused [UID] of 192.168.10.20:104"
    assert (entry["peer"], entry["source"]) == ("10.0.0.1", "[UID]")


def test_an_exception_is_told_by_its_kind_and_place(entries):
    try:
        raise ValueError(f"no such patient {NAME}")
    except ValueError:
        logging.getLogger("lungfield.node.x").exception("it failed")
    (entry,) = entries()
    assert entry["error"] == "ValueError"
    assert entry["at"][0].startswith("test_log.py:")
    assert "Zzyzx" not in json.dumps(entry)


@pytest.mark.parametrize("name", ["pydicom", "highdicom.seg", "uvicorn.error"])
def test_of_other_libraries_only_the_place_is_told(entries, name):
    logging.getLogger(name).warning(f"Invalid value for VR PN: {NAME}")
    logging.getLogger(name).info("chatter")
    (entry,) = entries()
    assert entry["name"] == name
    assert entry["message"].startswith("warning at test_log:")
    assert "Zzyzx" not in json.dumps(entry)


def test_an_entry_stays_on_one_line(entries):
    logging.getLogger("lungfield.node.x").info("a\nb\x1b[31m")
    assert entries()[0]["message"] == "a\\x0ab\\x1b[31m"


def test_files_are_put_aside_at_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "FILE_BYTES", 1000)
    monkeypatch.setattr(log, "KEPT_FILES", 2)
    with log.logging_to(tmp_path / "node.log"):
        for number in range(100):
            logging.getLogger("lungfield.node.x").info(
                "something that fills the file", extra={"instance": number}
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.log", "node.log.1", "node.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="log file cannot be written"),
        log.logging_to(tmp_path / "file" / "node.log"),
    ):
        pass


def test_levels_are_as_before_afterwards(tmp_path):
    def state():
        root, own = logging.getLogger(), logging.getLogger("lungfield")
        return root.level, own.level, list(root.handlers)

    before = state()
    with log.logging_to(tmp_path / "node.log"):
        assert state() != before
    assert state() == before


def test_every_field_that_the_node_logs_is_allowed():
    """One that is not would be left out in silence."""
    named = set()
    for path in Path(log.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values = []
            if isinstance(node, ast.Call):
                values = [one.value for one in node.keywords if one.arg == "extra"]
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):  # of what is given as `extra` later
                (target, *_) = node.targets if isinstance(node, ast.Assign) else [node.target]
                values = [node.value] if ast.unparse(target) in ("about", "self._about") else []
            for part in (part for value in values for part in ast.walk(value)):
                named |= {key.value for key in part.keys} if isinstance(part, ast.Dict) else set()
    assert {"instance", "destination", "next_attempt_s", "source"} <= named
    assert named <= log.FIELDS
