"""The server as its clients use it: a real one, on the loopback."""

from __future__ import annotations

import hashlib
import io
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

import nibabel
import SimpleITK as sitk  # noqa: N813
from answers import assert_same_lungs, received

from lungfield import Segmenter
from lungfield.bundles import find_bundle
from lungfield.mask.metrics import agreement

pytestmark = pytest.mark.timeout(600)
IMAGES = {"dicom": ".dcm", "monochrome1": ".DCM", "picture": ".png", "volume": ".nii.gz"}
LUNGS = {"right lung": 1, "left lung": 2}


@pytest.fixture(scope="module")
def segment(studies):
    """What `lungfield.Segmenter` makes of an image of the datastore."""
    segmenter = Segmenter("unet")
    return lambda name: segmenter(studies / (name + IMAGES[name])).label_map


def test_tells_what_it_has(server):
    info = server.get("/info/").json()
    assert sorted(info["models"]) == sorted(info["trainers"]) == ["small_unet", "unet"]
    unet = info["models"]["unet"]
    assert unet["labels"] == LUNGS
    assert (unet["type"], unet["dimension"]) == ("segmentation", 2)
    assert unet["version"] == find_bundle("unet").version
    assert info["labels"] == list(LUNGS)
    assert sorted(info["strategies"]) == ["first", "random"]
    assert info["datastore"]["total"] == len(IMAGES) + 1


@pytest.mark.parametrize("name", ["dicom", "monochrome1", "volume"])
def test_masks_of_dicom_and_nifti_are_nifti_on_the_file_s_own_grid(name, server, segment, studies, tmp_path):
    path = received(server.infer("unet", name), tmp_path)
    assert path.name.endswith(".nii.gz")
    mask = nibabel.load(path)
    columns, rows, planes = mask.shape
    assert planes == 1
    assert (rows, columns) == segment(name).shape
    assert_same_lungs(np.asarray(mask.dataobj)[..., 0].T, segment(name))
    if name == "volume":
        assert np.allclose(mask.affine, nibabel.load(studies / "volume.nii.gz").affine)


def test_mask_of_a_picture_is_a_picture(server, segment, tmp_path):
    path = received(server.infer("unet", "picture"), tmp_path)
    assert path.suffix == ".png"
    with Image.open(path) as mask:
        assert mask.mode == "L"
        assert_same_lungs(np.asarray(mask), segment("picture"))


@pytest.mark.parametrize("name", list(IMAGES))
def test_slicer_s_nrrd_lies_where_itk_places_the_image(name, server, segment, studies, tmp_path):
    path = received(server.infer("unet", name, result_extension=".nrrd", result_dtype="uint8"), tmp_path)
    mask, image = sitk.ReadImage(str(path)), sitk.ReadImage(str(studies / (name + IMAGES[name])))
    if name == "picture":
        image = sitk.JoinSeries(image)
    assert mask.GetSize() == image.GetSize()
    assert np.allclose(mask.GetSpacing(), image.GetSpacing())
    assert np.allclose(mask.GetOrigin(), image.GetOrigin())
    assert np.allclose(mask.GetDirection(), image.GetDirection())
    assert_same_lungs(sitk.GetArrayFromImage(mask)[0], segment(name))


def test_says_how_sure_it_is(server):
    answer = server.infer("unet", "dicom", output="json").json()
    assert answer["label_names"] == LUNGS
    assert answer["version"] == find_bundle("unet").version
    assert answer["flags"] == []
    assert 0.5 < answer["confidence"] <= 1


@pytest.mark.parametrize(
    ("model", "image", "params", "says"),
    [
        ("unet", "nowhere", {}, "no such image"),
        ("nothing", "dicom", {}, "no model 'nothing'"),
        ("unet", "broken", {}, "broken.png"),
        ("unet", "dicom", {"result_extension": ".jpg"}, "one of .png"),
        ("unet", "dicom", {"result_extension": "/../../x.png"}, "one of .png"),
    ],
)
def test_wrong_requests_are_answered_with_what_is_wrong(model, image, params, says, server):
    response = server.infer(model, image, **params)
    assert response.status_code == 400
    assert says in response.json()["detail"]


def test_pages_of_other_sites_get_nothing(server):
    answer = server.call("GET", "/info/", headers={"Origin": "http://example.org"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_next_radiograph_to_label(server):
    for strategy in ("first", "random"):
        sample = server.call("POST", f"/activelearning/{strategy}", json={}).json()
        assert sample["id"] in {*IMAGES, "broken"}


def test_batch_keeps_masks_and_goes_on_after_a_broken_file(server, segment, studies):
    state = server.run("/batch/infer", "/batch/infer/unet", label_tag="automatic", max_workers=1)
    assert state["status"] == "DONE", state["details"]
    saved = sorted(path.name for path in (studies / "labels" / "automatic").iterdir())
    assert saved == ["dicom.nii.gz", "monochrome1.nii.gz", "picture.png", "volume.nii.gz"]
    mask = nibabel.load(studies / "labels" / "automatic" / "dicom.nii.gz")
    assert_same_lungs(np.asarray(mask.dataobj)[..., 0].T, segment("dicom"))
    assert any("broken.png" in line for line in state["details"])
    listed = server.get("/datastore/", output="all").json()["objects"]
    assert "automatic" in listed["picture"]["labels"]
    assert "automatic" not in listed["broken"]["labels"]


def test_label_that_does_not_fit_is_refused(server, studies, tmp_path):
    Image.fromarray(np.ones((20, 30), dtype=np.uint8)).save(tmp_path / "small.png")
    response = server.save_label("picture", tmp_path / "small.png")
    assert response.status_code == 400
    assert "30x20" in response.json()["detail"]
    assert server.get("/datastore/label", label="picture", tag="final").status_code != 200


def upper_half(label_map):
    """The lungs as an annotator might want them who differs much from the network."""
    half = label_map.copy()
    half[len(half) // 2 :] = 0
    return half


def test_trains_on_what_was_saved_and_uses_it(server, segment, small_bundle, tmp_path):
    """From saving a label as 3D Slicer does to a mask by the new weights, and back to the shipped ones."""
    shipped_weights = small_bundle / "models" / "model.pt"
    before = hashlib.sha256(shipped_weights.read_bytes()).hexdigest()
    wanted = {name: upper_half(segment(name)) for name in ("dicom", "monochrome1", "picture")}
    slicer = {"label_info": [{"name": "right lung", "idx": 1}, {"name": "left lung", "idx": 2}]}
    for name, label_map in wanted.items():
        file = tmp_path / f"{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(label_map.T[..., np.newaxis], np.diag([-1, -1, 1, 1])), file)
        assert server.save_label(name, file, **slicer).json() == {"image": name, "label": name}
    assert server.get("/datastore/").json()["completed"] == len(wanted)

    first = dice(server, wanted)
    state = server.run(
        "/train/", "/train/small_unet", max_epochs=8, learning_rate="0.002", batch_size=2, val_split=0
    )
    assert state["status"] == "DONE", state["details"]
    (stats,) = [one for one in server.get("/info/").json()["train_stats"].values() if one]
    assert (stats["training_images"], stats["validation_images"]) == (2, 1)
    assert stats["epoch"] == stats["total_epochs"] == 8
    assert stats["started_from"] == find_bundle("unet").version
    assert dice(server, wanted) > first + 0.1

    version = server.infer("small_unet", "dicom", output="json").json()["version"]
    assert version.startswith(f"{find_bundle('unet').version}+20")
    assert hashlib.sha256(shipped_weights.read_bytes()).hexdigest() == before
    (weights,) = (server.home / "model" / "small_unet").glob("*/model.pt")
    assert server.get("/model/small_unet").content == weights.read_bytes()
    assert not list(weights.parent.glob("checkpoint*"))

    assert server.call("DELETE", "/model/small_unet").status_code == 200
    again = server.infer("small_unet", "dicom", output="json").json()
    assert again["version"] == find_bundle("unet").version
    # What is shipped can be neither had nor deleted.
    assert server.call("DELETE", "/model/small_unet").status_code == 404
    assert shipped_weights.is_file()


def dice(server, wanted):
    """The mean Dice of the small bundle's masks with those wanted."""
    masks = {}
    for name in wanted:
        answer = server.infer("small_unet", name, result_extension=".png")
        masks[name] = np.asarray(Image.open(io.BytesIO(answer.content)))
    return np.mean([agreement(masks[name], wanted[name], spacing=None).dice for name in wanted])


def test_training_without_labels_says_so(server):
    """Labels are removed first, as other tests save some."""
    for name in IMAGES:
        server.call("DELETE", "/datastore/label", params={"id": name, "tag": "final"})
    deadline = time.monotonic() + 20  # the datastore hears of files that are gone a little later
    while server.get("/datastore/").json()["completed"] and time.monotonic() < deadline:
        time.sleep(0.1)
    response = server.call("POST", "/train/unet", params={"run_sync": True}, json={})
    assert response.status_code == 400
    assert "save labels first" in response.json()["detail"]


def test_nothing_was_asked_for_online(server, network):
    """Runs last in this file: neither starting nor anything that the other tests did wanted the network."""
    assert network.requests == []
    assert server.process.poll() is None
