"""MONAI Label's own app for bundles, with one of ours copied into its folder."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

import nibabel
import SimpleITK as sitk  # noqa: N813
from answers import assert_same_lungs, received

from lungfield import Segmenter
from lungfield.bundles import find_bundle

pytestmark = pytest.mark.timeout(600)
FILES = {"dicom": "dicom.dcm", "picture": "picture.png", "volume": "volume.nii.gz"}


@pytest.fixture(scope="module")
def stock(serve, studies, tmp_path_factory):
    """The server, started as docs/monai-label.md says, and the folder of its radiographs."""
    folder = tmp_path_factory.mktemp("stock")
    monailabel = [sys.executable, "-m", "monailabel.main"]
    subprocess.run(
        [*monailabel, "apps", "--download", "--name", "monaibundle", "--output", str(folder)],
        check=True,
        capture_output=True,
    )
    shutil.copytree(find_bundle("unet").root, folder / "monaibundle" / "model" / "unet")
    (folder / "studies").mkdir()
    for name in FILES.values():
        shutil.copy(studies / name, folder / "studies")
    command = [*monailabel, "start_server", "--app", str(folder / "monaibundle"), "--host", "127.0.0.1"]
    command += ["--studies", str(folder / "studies"), "--uvicorn_app", "lungfield.label.asgi:app"]
    for setting in (("models", "unet"), ("zoo_source", "local"), ("sam2", "false")):
        command += ["--conf", *setting]
    env = {"MONAI_LABEL_DATASTORE_FILE_EXT": '["*.dcm", "*.png", "*.nii.gz"]'}
    return serve(folder / "studies", command=command, env=env), folder / "studies"


def test_knows_the_bundle(stock):
    server, _ = stock
    info = server.get("/info/").json()
    assert list(info["models"]) == ["unet"]
    assert info["models"]["unet"]["labels"] == {"right lung": 1, "left lung": 2}
    assert info["models"]["unet"]["dimension"] == 2
    assert info["datastore"]["total"] == len(FILES)


@pytest.mark.parametrize(
    ("name", "suffix"), [("dicom", ".nii.gz"), ("picture", ".png"), ("volume", ".nii.gz")]
)
def test_masks_are_those_of_segmenter(name, suffix, stock, tmp_path):
    server, studies = stock
    path = received(server.infer("unet", name), tmp_path)
    assert path.name.endswith(suffix)
    if suffix == ".png":
        mask = np.asarray(Image.open(path))
    else:
        volume = nibabel.load(path)
        assert volume.shape[2:] == (1,)
        mask = np.asarray(volume.dataobj)[..., 0].T
    assert_same_lungs(mask, Segmenter("unet")(studies / FILES[name]).label_map)


@pytest.mark.parametrize("name", list(FILES))
def test_slicer_s_nrrd_lies_where_itk_places_the_image(name, stock, tmp_path):
    server, studies = stock
    path = received(server.infer("unet", name, result_extension=".nrrd", result_dtype="uint8"), tmp_path)
    mask, image = sitk.ReadImage(str(path)), sitk.ReadImage(str(studies / FILES[name]))
    if name == "picture":
        image = sitk.JoinSeries(image)
    assert mask.GetSize() == image.GetSize()
    for ours, its in ((mask.GetSpacing(), image.GetSpacing()), (mask.GetOrigin(), image.GetOrigin())):
        assert np.allclose(ours, its, atol=1e-4)
    assert np.allclose(mask.GetDirection(), image.GetDirection(), atol=1e-4)


def test_nothing_was_asked_for_online(stock, network):
    assert network.requests == []
