import hashlib
import json
import pickle
import subprocess
import sys

import pytest

from lungfield.bundles import BUNDLES, DEFAULT_BUNDLE, Bundle, all_bundles, find_bundle, shipped
from lungfield.errors import BundleError


def test_every_bundle_is_found_by_name():
    assert [bundle.name for bundle in all_bundles()] == list(BUNDLES)


def test_the_default_bundle_is_ready_for_use():
    """The first mask needs no training and no download."""
    assert DEFAULT_BUNDLE in BUNDLES
    assert find_bundle(DEFAULT_BUNDLE).has_weights


def test_a_bundle_is_found_by_path(tmp_path):
    folder = tmp_path / "mine"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text("a: 1")
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "3.1"}))
    bundle = find_bundle(folder)
    assert (bundle.name, bundle.version, bundle.root) == ("mine", "3.1", folder.resolve())


def test_the_hash_of_the_weights(tmp_path):
    bundle = Bundle("mine", tmp_path, {})
    with pytest.raises(BundleError, match=r"no weights that can be read: .*model\.pt"):
        _ = bundle.weights_sha256
    bundle.weights.parent.mkdir()
    bundle.weights.write_bytes(b"weights")
    assert bundle.weights_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert pickle.loads(pickle.dumps(bundle)).weights_sha256 == bundle.weights_sha256  # noqa: S301


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"no bundle 'unett'.*unet"):
        find_bundle("unett")
    with pytest.raises(BundleError, match="is not a bundle"):
        find_bundle(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").write_text("a: 1")
    (tmp_path / "configs" / "metadata.json").write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        find_bundle(tmp_path)
    with pytest.raises(BundleError, match="missing"):
        shipped("nothing_of_that_name")


def test_light_parts_do_not_import_torch():
    code = (
        "import sys, lungfield, lungfield.cli.main, lungfield.bundles, lungfield.radiograph; "
        "import lungfield.mask, lungfield.export, lungfield.datasets; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'monai', 'ignite')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
