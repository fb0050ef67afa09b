"""Bundles as zips: what goes in, that the same files give the same bytes, and what MONAI makes of them."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from monai.apps.utils import HashCheckError
from monai.bundle import ConfigParser, create_workflow, download, download_large_files, load
from monai.bundle.scripts import _get_monaihosting_bundle_url
from PIL import Image

import pack_bundle
from lungfield import Segmenter
from lungfield.bundles import BUNDLES, find_bundle, shipped
from lungfield.errors import BundleError
from pack_bundle import LARGE_FILES, pack, remote_weights, sha256, write

URL = "https://example.org/model.pt"
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "model-zoo.md").read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path):
    """A copy of the U-Net's bundle, to change."""
    root = tmp_path / "unet"
    shutil.copytree(find_bundle("unet").root, root, ignore=shutil.ignore_patterns("training"))
    return root


def names(package):
    with zipfile.ZipFile(BytesIO(package.content)) as archive:
        return archive.namelist()


def read(package, name):
    with zipfile.ZipFile(BytesIO(package.content)) as archive:
        return archive.read(f"{package.name.split('_v')[0]}/{name}")


def test_ranges_of_integers_go_with_the_weights():
    assert "efficientnet_lite0_unet/models/int8.json" in names(pack(find_bundle("efficientnet_lite0_unet")))


def test_package_is_named_as_monai_asks_for_it_and_holds_the_bundle_in_one_folder():
    bundle = find_bundle("unet")
    package = pack(bundle)
    asked_for = _get_monaihosting_bundle_url(model_name="unet", version=bundle.version)
    assert asked_for.endswith(f"/{package.name}")
    assert package.weights == "with weights"
    assert "unet/LICENSE" in names(package)
    for name in names(package):
        top, rest = name.split("/", maxsplit=1)
        assert top == "unet"
        assert read(package, rest) == (bundle.root / rest).read_bytes()


def test_the_same_files_give_the_same_bytes(copy, tmp_path):
    """Whenever they were written, in whatever order, and whoever may read them."""
    first = pack(find_bundle(copy))
    again = tmp_path / "again" / "unet"
    for path in sorted(copy.rglob("*"), reverse=True):
        if path.is_file():
            target = again / path.relative_to(copy)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(0o600)
            os.utime(target, (1e9, 1e9))
    assert pack(find_bundle(again)).content == first.content
    (again / "docs" / "README.md").write_text("other", encoding="utf-8")
    assert pack(find_bundle(again)).content != first.content


def test_what_belongs_to_no_bundle_stays_behind(copy):
    expected = names(pack(find_bundle(copy)))
    for name in ("models/model.ts", "eval/schema.json", "notes.txt", ".hidden", "docs/.DS_Store"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b"x")
    package = pack(find_bundle(copy))
    assert names(package) == expected
    assert package.left_out == ("eval/schema.json", "models/model.ts", "notes.txt")


def test_without_weights_only_when_that_is_said(copy):
    (copy / "models" / "model.pt").unlink()
    with pytest.raises(BundleError, match=r"has no weights.*--weights-url.*--without-weights"):
        pack(find_bundle(copy))
    package = pack(find_bundle(copy), without_weights=True)
    assert package.weights.startswith("WITHOUT WEIGHTS")
    assert "unet/configs/train.yaml" in names(package)
    assert not [name for name in names(package) if "model.pt" in name or LARGE_FILES in name]


def test_weights_that_lie_elsewhere_are_named_with_their_checksum(copy):
    weights = copy / "models" / "model.pt"
    expected = sha256(weights.read_bytes())
    large_files = remote_weights(find_bundle(copy), weights, URL)
    package = pack(find_bundle(copy), large_files=large_files)
    assert "to be downloaded" in package.weights
    assert "unet/models/model.pt" not in names(package)
    assert yaml.safe_load(read(package, LARGE_FILES)) == {
        "large_files": [{"path": "models/model.pt", "url": URL, "hash_type": "sha256", "hash_val": expected}]
    }
    # A bundle that came with such a file keeps it.
    weights.unlink()
    (copy / LARGE_FILES).write_text(large_files, encoding="utf-8")
    assert pack(find_bundle(copy)).content == package.content


@pytest.mark.parametrize("remote", [False, True])
def test_weights_of_another_network_are_refused(remote, copy):
    torch.save(torch.nn.Linear(2, 2).state_dict(), copy / "models" / "model.pt")
    bundle = find_bundle(copy)
    with pytest.raises(BundleError, match="does not hold the weights of UNet"):
        remote_weights(bundle, bundle.weights, URL) if remote else pack(bundle)


@pytest.mark.parametrize("url", ["model.pt", "file:///model.pt", "https://", "https://example.org/a b"])
def test_an_address_must_be_one(url):
    bundle = find_bundle("unet")
    with pytest.raises(BundleError, match="no download URL"):
        remote_weights(bundle, bundle.weights, url)


def test_all_that_the_zoo_would_refuse_is_said_at_once(copy):
    (copy / "LICENSE").unlink()
    metadata = copy / "configs" / "metadata.json"
    version = find_bundle(copy).version
    metadata.write_text(metadata.read_text().replace(f'"version": "{version}"', '"version": "next"'))
    copy = copy.rename(copy.with_name("lung_vessels"))  # MONAI would take it for version 'essels' of 'lung'
    with pytest.raises(BundleError, match=r"'_v'.*LICENSE is missing.*'next'.*changelog.*next"):
        pack(find_bundle(copy))


def test_checksums_are_those_of_all_packages_in_the_folder(tmp_path):
    (tmp_path / "earlier_v0.1.0.zip").write_bytes(b"earlier")
    write([pack(find_bundle("resnet101_unet"), without_weights=True)], tmp_path)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b": OK") == 2


def test_command_says_why_not_and_writes_nothing(copy, tmp_path, monkeypatch, capsys):
    (copy / "models" / "model.pt").unlink()
    monkeypatch.setattr("sys.argv", ["pack_bundle", str(copy), "-o", str(tmp_path / "dist")])
    with pytest.raises(SystemExit) as stopped:
        pack_bundle.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("pack_bundle: unet has no weights")
    assert not (tmp_path / "dist").exists()


# Packed, downloaded and run by the commands of docs/model-zoo.md --------------------------------------------


def page_commands():
    """The page's commands, but for those that it marks as not to be run."""
    blocks = re.findall(r"(<!-- not run: .*-->\n)?^```bash\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    return [line for mark, block in blocks if not mark for line in block.replace("\\\n", " ").splitlines()]


def perform(command, monkeypatch):
    """Run `python FILE ...` or `python -m MODULE ...` in this process, which has imported torch already."""
    words = shlex.split(os.path.expandvars(command))[1:]
    run = partial(runpy.run_path, words[0])
    if words[0] == "-m":
        words = words[1:]
        run = partial(runpy.run_module, words[0], alter_sys=True)
    monkeypatch.setattr("sys.argv", words)
    with suppress(SystemExit):  # what went wrong shows in what is missing
        run(run_name="__main__")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """A folder in which the page's commands but the last were run; that one, to be run there."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("scripts", "bundles", "sample_data"):
        (folder / name).symlink_to(ROOT / name)
    *commands, last = page_commands()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PWD", str(folder))
        for command in commands:
            perform(command, monkeypatch)
    return folder, last


def test_every_bundle_is_packed_and_every_package_has_its_checksum(fetched):
    folder, _ = fetched
    packages = {path.name.split("_v")[0]: path for path in (folder / "dist").glob("*.zip")}
    assert packages.keys() == set(BUNDLES)
    for line in (folder / "dist" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert sha256(packages.pop(name.split("_v")[0]).read_bytes()) == digest
    assert not packages


def test_weights_can_be_loaded_from_the_download(fetched):
    """MONAI's `load` builds a network from JSON configs only; of these bundles it gives the weights."""
    weights = torch.load(find_bundle("unet").weights, weights_only=True)
    folder = fetched[0] / "bundle"
    parser = ConfigParser()
    parser.read_config(str(folder / "unet" / "configs" / "inference.yaml"))
    network = parser.get_parsed_content("network_def")
    loaded = load("unet", model=network, bundle_dir=folder, device="cpu")
    assert loaded is network
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, weights[key].to(value.dtype), rtol=0, atol=0)
    with pytest.warns(UserWarning, match="return state dict"):
        alone = load("unet", bundle_dir=folder, device="cpu")
    assert alone.keys() == weights.keys()


@pytest.mark.slow
def test_the_download_segments_like_the_shipped_bundle(fetched, monkeypatch):
    folder, command = fetched
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the configs replace it
    perform(f"{command} --logging_file False", monkeypatch)  # it would take the handlers of all tests
    masks = sorted((folder / "out").glob("*.png"))
    assert len(masks) == 7
    for mask, bundle in zip(masks, ("unet", folder / "bundle" / "unet"), strict=False):
        (source,) = (shipped("sample_data") / "images").glob(f"{mask.name.removesuffix('_lungs.png')}.dcm")
        expected = Segmenter(bundle, device="cpu", backend="torch")(source).label_map
        # The last bits of the network's sums depend on the number of threads.
        assert np.mean(np.asarray(Image.open(mask)) != expected) < 1e-4


def test_it_works_under_another_name_where_the_zoo_places_it(fetched, tmp_path):
    """The zoo gives `bundle_root`, and checks MONAI's properties."""
    root = tmp_path / "models" / "chest_xray_lung_segmentation"
    shutil.copytree(fetched[0] / "bundle" / "unet", root)
    workflow = create_workflow(
        workflow_type="inference",
        bundle_root=str(root),
        config_file=str(root / "configs" / "inference.yaml"),
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=str(root / "configs" / "logging.conf"),
    )
    assert workflow.check_properties() == []
    assert workflow.parser.get_parsed_content("checkpoint") == f"{root}/models/model.pt"
    assert pack(find_bundle(root)).name.startswith("chest_xray_lung_segmentation_v")


@pytest.fixture
def served(tmp_path_factory):
    """A folder, and the address at which it is served."""
    folder = tmp_path_factory.mktemp("served")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_weights_that_lie_elsewhere_are_fetched_and_checked(served, tmp_path):
    folder, address = served
    bundle = find_bundle("unet")
    weights = folder / "weights.pt"
    shutil.copy(bundle.weights, weights)
    package = pack(bundle, large_files=remote_weights(bundle, weights, f"{address}/weights.pt"))
    write([package], folder)
    download(name="unet", url=f"{address}/{package.name}", bundle_dir=tmp_path, progress=False)
    fetched = tmp_path / "unet" / "models" / "model.pt"
    assert not fetched.exists()
    download_large_files(str(tmp_path / "unet"))
    assert fetched.read_bytes() == weights.read_bytes()

    fetched.unlink()
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")  # somebody changed them there
    with pytest.raises(HashCheckError):
        download_large_files(str(tmp_path / "unet"))
    assert not fetched.exists()
