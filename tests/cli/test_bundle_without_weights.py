"""`lungfield segment` with a bundle that has yet to be trained."""

import json

import pytest

from lungfield.bundles import DEFAULT_BUNDLE, Bundle, all_bundles, find_bundle, shipped
from lungfield.errors import BundleError


@pytest.fixture
def untrained(tmp_path):
    """A bundle folder with the default bundle's configs and nothing else."""
    root = tmp_path / "untrained_unet"
    (root / "configs").mkdir(parents=True)
    for file in (find_bundle(DEFAULT_BUNDLE).root / "configs").iterdir():
        (root / "configs" / file.name).write_bytes(file.read_bytes())
    return root


def test_one_message_says_what_to_do(untrained, call_here, tmp_path):
    images = shipped("sample_data") / "images"
    done = call_here("segment", images, "-o", tmp_path / "out", "--bundle", untrained, "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    (message,) = done.stderr.strip().splitlines()
    for part in (
        f"weights of the bundle 'untrained_unet' is missing: {untrained / 'models' / 'model.pt'}",
        f"monai.bundle run training --config_file {untrained / 'configs' / 'train.yaml'}",
        "RUN/best_model.pt",
        str(untrained / "docs" / "README.md"),
    ):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_the_message_names_bundles_that_have_weights(untrained):
    from lungfield.bundles.predictor import Predictor

    ready = [bundle.name for bundle in all_bundles() if bundle.has_weights]
    assert DEFAULT_BUNDLE in ready
    with pytest.raises(BundleError, match=rf"with --bundle: {', '.join(ready)}\. "):
        Predictor(Bundle("untrained_unet", untrained, {}), device="cpu")


def test_the_list_of_bundles_says_which_have_weights(call_here):
    entries = {entry["name"]: entry for entry in json.loads(call_here("bundles", "--json").stdout)}
    for bundle in all_bundles():
        entry = entries[bundle.name]
        assert entry["has_weights"] == bundle.weights.is_file() == (entry["weights_mb"] is not None)
        assert entry["default"] == (bundle.name == DEFAULT_BUNDLE)
        assert entry["parameters"] == bundle.metadata["parameters"]
    table = call_here("bundles").stdout
    for bundle in all_bundles():
        (line,) = [line for line in table.splitlines() if line.split()[:1] == [bundle.name]]
        assert ("none" in line) != bundle.has_weights
        assert f"{bundle.metadata['parameters'] / 1e6:.1f} M" in line
