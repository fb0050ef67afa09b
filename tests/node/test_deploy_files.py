"""What deploy/ holds fits the node: settings that load, a hardened unit, a container file of real paths."""

import re
import shutil
import subprocess
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from lungfield.errors import DataError
from lungfield.node.configuration import read_settings
from lungfield.node.settings import Limits, Retention, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "node.yaml"
MOST_EXPOSED = 1.5


def test_the_example_loads_and_says_what_is_so_without_it():
    settings = read_settings(EXAMPLE, {})
    archive, spare = settings.send_to
    assert (archive.name, archive.kind, archive.fallback, spare.name) == (
        "archive",
        "dicom",
        "spare",
        "spare",
    )
    assert replace(settings, send_to=()) == Settings(state=Path("/var/lib/lungfield"))


def test_the_example_has_every_setting():
    given = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    text = EXAMPLE.read_text(encoding="utf-8")
    assert {one.name for one in fields(Settings)} - given.keys() == {"tls", "http_tls"}
    assert given["limits"].keys() == {one.name for one in fields(Limits)}
    assert given["retention"].keys() == {one.name for one in fields(Retention)}
    assert "#tls:" in text
    assert "#http_tls:" in text


def test_what_is_commented_out_loads_too(tmp_path):
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "node.yaml"
    path.write_text("\n".join(re.sub(r"^#(?=\S|  )", "", line) for line in lines), encoding="utf-8")
    settings = read_settings(path, {})
    assert settings.tls.on
    assert settings.tls.mutual
    assert settings.http_tls.certificate
    assert [one.name for one in settings.poll] == ["archive"]
    assert [one.kind for one in settings.send_to] == ["dicom", "dicomweb", "hl7", "fhir"]


def test_the_example_holds_no_secret_and_a_typing_error_is_refused(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    assert not re.search(r"^\s*#?\s*(token|password)", text, re.MULTILINE)
    path = tmp_path / "node.yaml"
    path.write_text(text.replace("ae_title:", "ae_titel:"), encoding="utf-8")
    with pytest.raises(DataError, match="did you mean 'ae_title'"):
        read_settings(path, {})


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path):
    text = (DEPLOY / "lungfield-node.service").read_text(encoding="utf-8")
    unit = tmp_path / "lungfield-node.service"
    unit.write_text(text.replace("/opt/lungfield/bin/lungfield", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "Unknown" in done.stderr or "unrecognized" in done.stderr:
        pytest.skip("this systemd-analyze has no --offline")
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure[1]) <= MOST_EXPOSED, done.stdout


def test_the_unit_waits_for_the_node_to_drain():
    text = (DEPLOY / "lungfield-node.service").read_text(encoding="utf-8")
    values = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert float(values["TimeoutStopSec"]) > Limits().drain_s + 5
    assert values["KillSignal"] == "SIGTERM"
    assert values["ExecStart"].endswith("lungfield node --config /etc/lungfield/node.yaml")
    assert values["LimitCORE"] == "0"


def test_the_container_file_names_what_is_there():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = text.replace("\\\n", " ")
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", lines, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.search(r"'\.\[(.+?)\]'", lines)[1].split(","):
        assert extra in project["optional-dependencies"]
    for needed in project["readme"], *project["license-files"]:
        assert re.search(rf"^COPY .*\b{re.escape(needed)}\b", lines, re.MULTILINE)
    assert "\nUSER lungfield\n" in text
    assert f"EXPOSE {Settings.port} 8080" in text
