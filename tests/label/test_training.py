"""What a training sees, and which weights count; without a server."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

from lungfield.datasets import load_data_list
from lungfield.errors import BundleError, DataError
from lungfield.inference import all_bundles, find_bundle
from lungfield.label.bundles import chosen_bundles
from lungfield.label.training import Correction, Options, write_data
from lungfield.label.weights import WeightStore


@pytest.fixture
def corrections(tmp_path, picture):
    """Seven radiographs with masks of one lung each."""
    made = []
    for number in range(7):
        image, label = tmp_path / f"{number}.png", tmp_path / f"{number}-label.png"
        Image.fromarray((picture >> 4).astype(np.uint8)).save(image)
        mask = np.zeros(picture.shape, dtype=np.uint8)
        mask[10 : 20 + number, 10:30] = 2
        Image.fromarray(mask).save(label)
        made.append(Correction(str(number), image, label))
    return made


def ids(folder, section):
    return [item["id"] for item in load_data_list(folder, section)]


def test_data_are_in_the_layout_of_the_bundles(corrections, tmp_path):
    assert write_data(corrections, tmp_path / "data", Options(batch_size=4, val_split=0.3)) == (5, 2)
    training, validation = ids(tmp_path / "data", "training"), ids(tmp_path / "data", "validation")
    assert sorted({*training, *validation}) == [one.id for one in corrections]
    assert not {*training} & {*validation}
    assert len(training) == 8  # whole batches
    for item in load_data_list(tmp_path / "data", "training"):
        assert item["image"] == str(tmp_path / f"{item['id']}.png")
        saved = Image.open(tmp_path / f"{item['id']}-label.png")
        assert np.array_equal(np.asarray(Image.open(item["label"])), np.asarray(saved))


def test_validation_images_stay_for_validation(corrections, tmp_path):
    """A later training must not choose its epoch by what an earlier one learnt."""
    write_data(corrections[:5], tmp_path / "earlier", Options(val_split=0.4))
    write_data(corrections, tmp_path / "later", Options(val_split=0.4))
    write_data(corrections[::-1], tmp_path / "again", Options(val_split=0.4))
    later = set(ids(tmp_path / "later", "validation"))
    assert later == set(ids(tmp_path / "again", "validation"))
    order = [*ids(tmp_path / "later", "validation"), *dict.fromkeys(ids(tmp_path / "later", "training"))]
    earlier = ids(tmp_path / "earlier", "validation")
    assert earlier == [one for one in order if int(one) < 5][: len(earlier)]


def test_one_correction_serves_for_both(corrections, tmp_path):
    assert write_data(corrections[:1], tmp_path / "data", Options(batch_size=2)) == (1, 1)
    assert ids(tmp_path / "data", "training") == ["0", "0"]
    assert ids(tmp_path / "data", "validation") == ["0"]


def test_label_of_another_size_stops_it(corrections, tmp_path):
    Image.fromarray(np.ones((5, 5), dtype=np.uint8)).save(corrections[3].label)
    with pytest.raises(DataError, match=r"3-label\.png"):
        write_data(corrections, tmp_path / "data", Options())


def test_options_may_be_text_and_are_checked():
    options = Options.of({"max_epochs": "3", "learning_rate": "1e-3", "batch_size": 2, "device": ["cpu"]})
    assert (options.max_epochs, options.learning_rate, options.batch_size) == (3, 0.001, 2)
    assert options.device == "cpu"
    for wrong in ({"max_epochs": "many"}, {"max_epochs": 0}, {"val_split": 1}, {"learning_rate": -1}):
        with pytest.raises(DataError):
            Options.of(wrong)


def test_newest_complete_weights_count(tmp_path):
    store = WeightStore(find_bundle("unet"), tmp_path / "unet")
    assert store.latest() is None
    assert store.current() == store.bundle
    first, second, stopped = (store.new_folder() for _ in range(3))
    assert len({first, second, stopped}) == 3
    for folder in (first, second):
        (folder / "model.pt").write_bytes(b"weights")
    current = store.current()
    assert current.weights == second / "model.pt"
    assert current.version == f"{store.bundle.version}+{second.name}"
    assert current.inference_config == store.bundle.inference_config
    (second / "model.pt").unlink()
    assert store.current().weights == first / "model.pt"


def test_bundles_are_chosen_by_name_and_folder(tmp_path):
    assert [one.name for one in chosen_bundles("")] == [one.name for one in all_bundles() if one.has_weights]
    assert [one.name for one in chosen_bundles("gsconv_unet, unet")] == ["gsconv_unet", "unet"]
    with pytest.raises(BundleError, match="no bundle 'nothing'"):
        chosen_bundles("unet,nothing")
    with pytest.raises(BundleError, match="one name"):
        chosen_bundles(f"unet,{find_bundle('unet').root}")
    untrained = tmp_path / "untrained"
    (untrained / "configs").mkdir(parents=True)
    for name in ("metadata.json", "inference.yaml"):
        (untrained / "configs" / name).write_bytes((find_bundle("unet").root / "configs" / name).read_bytes())
    with pytest.raises(BundleError, match="no weights"):
        chosen_bundles(str(untrained))
