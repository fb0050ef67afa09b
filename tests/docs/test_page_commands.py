"""Whatever the pages tell to type or to program works: it is run here, or by another test, or says why not.

A block under a remark `<!-- not run: ... -->` is not run; nor is a page all of whose other blocks are in
`COVERED`, the table of commands that another test runs. All other blocks are run as they are written, page by
page and in their order, in a folder that looks like the root of the repository. What is not run is looked at
by `test_commands_exist.py`.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from itertools import groupby

import pytest
from pages import ROOT, blocks

import lungfield
from lungfield.bundles import DEFAULT_BUNDLE, all_bundles

BUNDLE_RUNS = "tests/bundles/test_every_bundle_runs.py::test_trains_evaluates_and_segments"
CI = ".ci/run"
COVERED = {
    r"python3 -m venv .venv|\. .venv/bin/activate": CI,
    r"pip install -c constraints.txt .*|pre-commit install": CI,
    r"python -m pytest.*|ruff .*|mypy|lint-imports": CI,
    r"lungfield segment sample_data/images -o out --reference sample_data/labels": (
        "tests/test_end_to_end.py::test_writes_what_the_readme_says"
    ),
    r"lungfield segment sample_data/images -o out --reference sample_data/labels --bundle unet": (
        "tests/docs/test_page_commands.py::test_shipped_weights_segment"
    ),
    r"lungfield segment radiographs/ -o out( --bundle unet)?": (
        "tests/test_end_to_end.py::test_ends_well_and_the_last_line_is_json"
    ),
    r"lungfield segment radiographs/ -o out --bundle (?!unet).*": (
        "tests/docs/test_page_commands.py::test_shipped_weights_segment"
    ),
    r"lungfield segment (radiographs/|sample_data/images) -o out( --reference [^ ]*)? --resume": (
        "tests/batch/test_never_dying.py::test_a_run_killed_at_random_moments_and_resumed_gives_the_same_bytes"
    ),
    r"lungfield segment radiographs/ -o out2 --formats .*": (
        "tests/batch/test_batch.py::test_every_format_is_written_and_only_for_dicom_where_it_has_to_be"
    ),
    r"lungfield segment list.csv -o s3://bucket/out --engine ray": (
        "tests/cluster/test_ray.py::test_an_actor_and_a_node_that_die_cost_time_only"
    ),
    r"lungfield segment radiographs/ -o out3 --json": (
        "tests/test_end_to_end.py::test_ends_well_and_the_last_line_is_json"
    ),
    r"lungfield node --state node --send-to .*": (
        "tests/node/test_node_page.py::test_its_commands_bring_results_into_orthanc"
    ),
    r"lungfield bundles": "tests/cli/test_commands.py::test_bundles_are_listed_for_people_and_programs",
    r"lungfield prepare --help": "tests/datasets/test_prepare_command.py::test_help",
    r"lungfield prepare .*": "tests/test_readme.py::test_prepare_commands_are_real",
    r"python -m monai.bundle run .*/unet/.* --dataset_dir (DIR|DICOM_DIR).*": (
        "tests/test_readme.py::test_monai_commands_run_on_the_samples"
    ),
    r"python -m monai.bundle run evaluating --dataset_dir (DIR|data) --config_file [^ ]*": BUNDLE_RUNS,
    r"python -m monai.bundle run --config_file [^ ]* --dataset_dir DIR --output_dir OUT": BUNDLE_RUNS,
    r"python -m monai.bundle ckpt_export --filepath model.ts .*|python docs/deploy/app.py .*": (
        "tests/deploy/test_deploy.py::test_application_writes_a_segmentation_of_every_frontal_radiograph"
    ),
    r"lungfield export \w+ .*": "tests/bundles/test_exporting.py::test_the_command_says_it_to_programs",
    r"mkdir -p runs/exports": "tests/bundles/test_exporting.py::test_the_command_says_it_to_programs",
    r"python -m monai.bundle ckpt_export network_def .*": (
        "tests/bundles/test_monai_checks.py::test_exports_to_torchscript"
    ),
    r"python -m monai.bundle onnx_export network_def .*": (
        "tests/bundles/test_monai_checks.py::test_exports_to_onnx"
    ),
    r"python -m monai.bundle run .* --network_file .*": (
        "tests/bundles/test_exporting.py::test_monai_runs_it_in_the_networks_place"
    ),
    r"lungfield segment sample_data/images -o out-openvino --backend openvino": (
        "tests/bundles/test_backends.py::test_a_batch_on_openvino_gives_the_masks_of_the_predictor"
    ),
    r"python scripts/pack_bundle.py .* -o dist.*": (
        "tests/scripts/test_pack_bundle.py::test_every_bundle_is_packed_and_every_package_has_its_checksum"
    ),
    r"python -m monai.bundle download --name unet .*": (
        "tests/scripts/test_pack_bundle.py::test_weights_can_be_loaded_from_the_download"
    ),
    r"python -m monai.bundle run --config_file bundle/unet/.*": (
        "tests/scripts/test_pack_bundle.py::test_the_download_segments_like_the_shipped_bundle"
    ),
    r"python scripts/make_phantoms.py .*": "tests/scripts/test_phantoms.py::test_the_command",
    r"python scripts/reproduce.py .*": (
        "tests/scripts/test_reproduce.py::test_stopped_training_goes_on_to_the_end"
    ),
}
"""Commands, as regular expressions, and the test that runs them or their like on smaller data."""

PYTHON_COVERED = {
    "README.md": "tests/test_readme.py::test_python_example_runs",
    "docs/export.md": "tests/docs/test_onnx_example.py::test_example_segments_without_lungfield",
}
"""Pages whose Python another test runs."""

NOT_RUN = r"installs|starts a server|(needs|takes) .+"
"""What may be said of a block that is not run."""

BLOCKS = blocks()


def covering(words):
    """The test that covers a command, or None."""
    line = " ".join(words)
    return next((test for pattern, test in COVERED.items() if re.fullmatch(pattern, line)), None)


def is_covered(block):
    if block.language == "python":
        return block.page in PYTHON_COVERED
    return all(map(covering, block.commands))


def runnable():
    """Page by page, the blocks to run: none of a page whose blocks are all covered."""
    unmarked = [block for block in BLOCKS if block.language in ("bash", "python") and block.why is None]
    by_page = {page: list(group) for page, group in groupby(unmarked, lambda block: block.page)}
    return {page: group for page, group in by_page.items() if not all(map(is_covered, group))}


_IN_ONE_PROCESS = """
import json, runpy, sys
for argv in json.loads(sys.argv[1]):
    sys.argv = argv
    runpy.run_module("monai.bundle", run_name="__main__")
"""


def kind(block):
    """How a block is run: 'here' is Python that starts no processes, which would import its file."""
    if block.language == "python":
        return "python" if "__main__" in block.text else "here"
    monai = all(words[:4] == ["python", "-m", "monai.bundle", "run"] for words in block.commands)
    return "monai" if monai else "bash"


def program(kind, group, folder):
    """The words that run blocks of one kind; the import of torch, which is most of the time, is shared."""
    if kind == "bash":
        return ["bash", "-euo", "pipefail", "-c", "\n".join(block.text for block in group)]
    if kind == "monai":
        calls = [words[2:] for block in group for words in block.commands]
        return [sys.executable, "-W", "ignore", "-c", _IN_ONE_PROCESS, json.dumps(calls)]
    (file,) = files_of(group, folder)
    return [sys.executable, str(file)]


def files_of(group, folder):
    """Blocks of Python as files."""
    files = [folder / f"line_{block.line}.py" for block in group]
    for file, block in zip(files, group, strict=True):
        file.write_text(block.text, encoding="utf-8")
    return files


@pytest.fixture
def root(tmp_path):
    """A folder like the root of the repository, in which examples may write what they like."""
    for name in ("bundles", "sample_data", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    shutil.copytree(ROOT / "sample_data" / "images", tmp_path / "radiographs")
    yield tmp_path
    shutil.rmtree(tmp_path)  # pytest would keep the weights over three sessions


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", sorted(runnable()))
def test_page_runs(page, root, monkeypatch):
    monkeypatch.chdir(root)
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PATH": os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])),  # noqa: PTH120
    }
    for what, group in groupby(runnable()[page], kind):
        group = list(group)
        if what == "here":
            for file in files_of(group, root):
                runpy.run_path(str(file), run_name="__main__")
            continue
        done = subprocess.run(
            program(what, group, root),
            env=environment,
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        assert done.returncode == 0, f"{', '.join(map(str, group))}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "name", [bundle.name for bundle in all_bundles() if bundle.has_weights and bundle.name != DEFAULT_BUNDLE]
)
@pytest.mark.slow
def test_shipped_weights_segment(name):
    """What the cards of the bundles show first; the default bundle is in other tests."""
    lungs = lungfield.Segmenter(name, device="cpu")(ROOT / "sample_data" / "images" / "01_dx_explicit.dcm")
    assert lungs.agreement(ROOT / "sample_data" / "labels" / "01_dx_explicit.png").dice > 0.95


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.why], ids=str)
def test_reason_not_to_run_is_a_known_one(block):
    assert re.fullmatch(NOT_RUN, block.why)


def test_tests_that_cover_exist():
    for test in {*COVERED.values(), *PYTHON_COVERED.values()}:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name.partition('[')[0]}\(", text, re.MULTILINE), test


def test_no_entry_of_the_table_is_left_over():
    unmarked = [block for block in BLOCKS if block.language == "bash" and block.why is None]
    lines = [" ".join(words) for block in unmarked for words in block.commands]
    for pattern in COVERED:
        assert any(re.fullmatch(pattern, line) for line in lines), pattern
