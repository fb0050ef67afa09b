"""The command line as a user calls it, in a process of its own."""

import json
import subprocess
import sys

import pytest

from lungfield.inference import BUNDLES, find_bundle


def lungfield(*words):
    return subprocess.run(
        [sys.executable, "-m", "lungfield.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_the_commands():
    done = lungfield("--help")
    assert done.returncode == 0
    for command in ("segment", "bundles", "prepare"):
        assert command in done.stdout
    assert "not a medical device" in " ".join(done.stdout.split())


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert lungfield("--version").stdout == f"lungfield {version('lungfield')}\n"


def test_bundles_are_listed_for_people_and_programs():
    entries = json.loads(lungfield("bundles", "--json").stdout)
    assert [entry["name"] for entry in entries] == list(BUNDLES)
    assert entries[0]["metrics"] == find_bundle(BUNDLES[0]).metadata["eval_metrics"]
    assert BUNDLES[0] in lungfield("bundles").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["segment"], "Missing argument"),
        (["segment", "."], "--output"),
        (["segment", ".", "-o", "out", "--bundle", "unett"], "no bundle 'unett'"),
        (["segment", ".", "-o", "out", "--device", "tpu"], "tpu"),
        (["segment", "x.dcm", "-o", "out"], "does not exist"),
        (["transmogrify"], "transmogrify"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_message(words, message, tmp_path):
    done = lungfield(*[tmp_path / word if word == "out" else word for word in words])
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
