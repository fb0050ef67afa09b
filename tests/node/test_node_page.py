"""docs/node.md works as it is written: its commands, in their order, on free ports; its alerts and tables."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from contextlib import closing
from dataclasses import fields

import pytest
import yaml
from filled import fill, get, served
from prometheus_client.parser import text_string_to_metric_families

from lungfield.node.advice import ADVICE
from lungfield.node.settings import Settings
from orthanc import MISSING
from pacs_pages import ROOT, blocks, on_free_ports, pacs_commands, run_with_orthanc

PAGE = ROOT / "docs" / "node.md"
TIMEOUT_S = 450


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S + 20)
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_its_commands_bring_results_into_orthanc(text, tmp_path):
    text = on_free_ports(text, "8042", "4242", "8080", "11112")
    commands = pacs_commands(text)
    connecting = commands[1].strip().splitlines()
    assert len(connecting) == 5  # 'five commands', as the page says
    connecting[1] = connecting[1].replace(
        "--state", f"--workers 1 --port {_port(text)} {_page(text)} --state"
    )
    commands[1] = "\n".join([*connecting, ""])
    logs = ("node.out", "node.log", "orthanc.log")
    run_with_orthanc(text, commands, tmp_path, timeout_s=TIMEOUT_S, logs=logs)

    status = json.loads((tmp_path / "status.json").read_text())
    assert sum(one["count"] for one in status["queue"]) == 1
    assert list(csv.DictReader((tmp_path / "failures.csv").read_text().splitlines())) == []
    with closing(sqlite3.connect(tmp_path / "backup" / "node.sqlite3")) as backup:
        ((state,),) = backup.execute("SELECT state FROM instance").fetchall()
    assert state in ("segmented", "delivered")
    assert len(list((tmp_path / "backup").rglob("*.dcm"))) == 4
    for line in (tmp_path / "node.log").read_text().splitlines():
        assert json.loads(line)["level"] in ("INFO", "WARNING")


def _port(text):
    return re.search(r'"Port": (\d+)', text)[1]


def _page(text):
    return f"--http {re.search(r'http://([^/]+)/readyz', text)[1]}"


def test_alerts_are_of_metrics_that_there_are(text, tmp_path):
    (rules,) = [yaml.safe_load(one) for one in blocks(text, "yaml")]
    filled = fill(tmp_path / "state")
    with served(filled) as url:
        answer = get(f"{url}/metrics").text
    filled.store.close()
    samples = {sample.name for family in text_string_to_metric_families(answer) for sample in family.samples}
    counters = set(re.findall(r"^# TYPE (lungfield_node_\w+)", answer, re.MULTILINE))
    for rule in rules["groups"][0]["rules"]:
        assert set(re.findall(r"lungfield_node_\w+", rule["expr"])) <= samples, rule["alert"]
    told = set(re.findall(r"`(lungfield_node_\w+)`", text))
    assert told >= counters - {"lungfield_node_info"} - {one for one in counters if one.endswith("_created")}
    assert told <= samples | counters


def test_every_code_has_its_row(text):
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", text, re.MULTILINE))
    assert {code: rows.get(code) for code in ADVICE} == ADVICE


def test_every_setting_is_named(text):
    section = text[text.index("## Settings") : text.index("### Destinations")]
    named = set(re.findall(r"`(\w+)`", section))
    assert {one.name for one in fields(Settings)} <= named
