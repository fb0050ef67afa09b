"""What MONAI's model zoo asks of a bundle beyond MONAI's own checks.

The files that a bundle must have are in test_bundle_contract.py; schema, shapes, properties and exports in
test_monai_checks.py; how a bundle is packed in scripts/test_pack_bundle.py.
"""

import re

import pytest
from monai.bundle import ConfigParser

from lungfield.bundles import BUNDLES, find_bundle

# The keys that the zoo's guide for contributors names, in the notation of MONAI's configs.
KEYS = {
    "inference.yaml": "bundle_root device network_def inferer output_dir",
    "train.yaml": """
        bundle_root device dataset_dir output_dir val_interval
        train#trainer train#trainer#max_epochs train#dataset train#dataset#data train#handlers
        train#preprocessing train#postprocessing train#inferer train#key_metric
        validate#evaluator validate#handlers validate#dataset validate#dataset#data
        validate#preprocessing validate#postprocessing validate#inferer validate#key_metric
    """,
}


@pytest.fixture(params=BUNDLES)
def bundle(request):
    return find_bundle(request.param)


def test_name_tells_from_version_and_suits_other_applications(bundle):
    """The zoo and MONAI cut at '_v'; MONAI Label takes these words for other kinds of models."""
    assert re.fullmatch(r"[a-z0-9_]+", bundle.name)
    assert not [
        word for word in ("_v", "deepedit", "deepgrow", "detection", "classification") if word in bundle.name
    ]
    assert re.fullmatch(r"\d+\.\d+\.\d+", bundle.version)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in bundle.metadata["changelog"])


def test_no_file_is_too_large_for_the_zoo_or_code(bundle):
    for path in bundle.root.rglob("*"):
        if path.suffix not in (".ts", ".onnx", ".xml", ".bin"):  # exports somebody made here; no part of it
            assert path.suffix != ".py", path
            assert path.is_dir() or path.stat().st_size < 25e6, path


@pytest.mark.parametrize("name", KEYS)
def test_configs_have_the_keys_that_the_zoo_names(name, bundle):
    parser = ConfigParser()
    parser.read_config(str(bundle.root / "configs" / name))
    assert [key for key in KEYS[name].split() if key not in parser] == []


def test_configs_name_no_place_of_one_machine(bundle):
    for path in (bundle.root / "configs").iterdir():
        assert not re.search(r"/(home|Users|root|work|workspace|mnt)/", path.read_text(encoding="utf-8")), (
            path
        )


def test_packages_to_install_are_told_as_pip_reads_them(bundle):
    """The zoo installs `monai`, `torch`, `numpy` and these with '==' before it verifies a bundle."""
    metadata = bundle.metadata
    versions = {
        **{name: metadata[f"{name}_version"] for name in ("monai", "pytorch", "numpy")},
        **metadata["required_packages_version"],
    }
    assert "lungfield" in versions
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in versions.values())


def test_what_the_model_browser_and_the_card_show_is_there(bundle):
    """The zoo's template of a card asks for these; performance only where there are weights to have it."""
    metadata = bundle.metadata
    shown = (
        "name",
        "authors",
        "copyright",
        "task",
        "description",
        "data_source",
        "intended_use",
        "references",
    )
    assert all(metadata[key] for key in shown)
    assert bool(metadata.get("eval_metrics")) >= bundle.has_weights
    assert (bundle.root / "docs" / "README.md").read_text(encoding="utf-8").startswith("# ")
