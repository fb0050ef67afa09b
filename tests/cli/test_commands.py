"""The command line as a user calls it, some of it in a process of its own."""

import json

import pytest

from lungfield.bundles import BUNDLES, find_bundle


def test_help_names_the_commands(call_lungfield):
    done = call_lungfield("--help")
    assert done.returncode == 0
    for command in ("segment", "bundles", "prepare"):
        assert command in done.stdout
    assert "not a medical device" in " ".join(done.stdout.split())


def test_version_is_that_of_the_package(call_lungfield):
    from importlib.metadata import version

    assert call_lungfield("--version").stdout == f"lungfield {version('lungfield')}\n"


def test_bundles_are_listed_for_people_and_programs(call_here):
    entries = json.loads(call_here("bundles", "--json").stdout)
    assert [entry["name"] for entry in entries] == list(BUNDLES)
    assert entries[0]["metrics"] == find_bundle(BUNDLES[0]).metadata["eval_metrics"]
    assert entries[0]["structures"] == ["lungs", "heart", "clavicles"]
    assert entries[1]["structures"] == ["lungs"]
    table = call_here("bundles").stdout
    assert BUNDLES[0] in table
    (line,) = [line for line in table.splitlines() if line.split()[:1] == ["unet"]]
    assert line.split()[1:3] == ["lungs", "256x256"]
    assert "…" not in table  # nothing is cut off at 80 characters


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["segment"], "Missing option"),
        (["segment", "-o", "out"], "no input: name files or folders"),
        (["segment", "-o", "out", "--files-from", "no.txt"], "no.txt cannot be read"),
        (["segment", ".", "-o", "out", "--include", "/a"], "'/a' cannot be included"),
        (["segment", "."], "--output"),
        (["segment", ".", "-o", "out", "--bundle", "unett"], "no bundle 'unett'"),
        (["segment", ".", "-o", "out", "--device", "tpu"], "tpu"),
        (["segment", "x.dcm", "-o", "out"], "does not exist"),
        (["transmogrify"], "transmogrify"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_message(call_here, words, message, tmp_path):
    done = call_here(*[tmp_path / word if word == "out" else word for word in words])
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
