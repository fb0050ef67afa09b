"""What a training sees, and which weights count; without a server."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

from lungfield.bundles import Bundle, all_bundles, find_bundle
from lungfield.datasets import load_data_list
from lungfield.errors import BundleError, DataError
from lungfield.label.server import chosen_bundles
from lungfield.label.split import Split, divide, divide_and_remember
from lungfield.label.training import Correction, FineTuneTask, Options, write_data
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
    split = Split(frozenset("01234"), frozenset("56"))
    assert write_data(corrections, tmp_path / "data", Options(batch_size=4), split) == (5, 2)
    training, validation = ids(tmp_path / "data", "training"), ids(tmp_path / "data", "validation")
    assert sorted({*training, *validation}) == [one.id for one in corrections]
    assert not {*training} & {*validation}
    assert len(training) == 8  # whole batches
    for item in load_data_list(tmp_path / "data", "training"):
        assert item["image"] == str(tmp_path / f"{item['id']}.png")
        saved = Image.open(tmp_path / f"{item['id']}-label.png")
        assert np.array_equal(np.asarray(Image.open(item["label"])), np.asarray(saved))


@pytest.mark.parametrize("val_split", [0.0, 0.2, 0.5, 0.9])
def test_no_training_chooses_by_what_an_earlier_one_learnt(tmp_path, val_split):
    """Images are saved by and by, and trained on after each; names are as in a study."""
    for annotator in range(60):
        numbers = np.random.default_rng(annotator)
        names = [f"{annotator}-{number}" for number in numbers.permutation(40)]
        memory = tmp_path / str(annotator) / "split.json"
        learnt, chosen_by, count = set(), set(), 0
        while count < len(names):
            count += int(numbers.integers(1, 6)) if annotator % 2 else 1
            present = names[:count]
            split = divide_and_remember(present, val_split, memory)
            assert split.training | split.validation == set(present)
            assert split.training
            assert split.validation
            if len(present) > 1:
                assert not split.validation & (learnt | split.training)
                assert not split.training & chosen_by
                chosen_by |= split.validation
            learnt |= split.training


@pytest.mark.parametrize("val_split", [0.1, 0.2, 0.5])
def test_the_side_of_an_image_depends_on_its_name_alone(val_split):
    names = [f"image {number}" for number in range(4000)]
    all_of_them = divide(names, val_split)
    assert len(all_of_them.validation) / len(names) == pytest.approx(val_split, abs=0.02)
    assert divide(names[::-1], val_split) == all_of_them
    assert divide(names[:500], val_split).validation == all_of_them.validation & set(names[:500])


def test_images_may_go_and_the_part_for_validation_may_change(tmp_path):
    memory, names = tmp_path / "split.json", [f"{number}" for number in range(30)]
    first = divide_and_remember(names, 0.2, memory)
    assert divide_and_remember(names, 0.8, memory) == first
    # Without the images that were for validation, all have been learnt: one serves for both.
    left = divide_and_remember(first.training, 0.2, memory)
    assert left.training == first.training
    assert len(left.validation) == 1
    # It is not for validation once there is another.
    more = divide_and_remember([*first.training, "new"], 0.0, memory)
    assert more.validation == {"new"}
    assert divide_and_remember(names, 0.2, memory) == first
    # Without those that were learnt, one that was for validation is learnt from now on.
    only = divide_and_remember(first.validation, 0.2, memory)
    assert len(only.training) == 1
    assert only.training | only.validation == first.validation
    assert divide_and_remember(names, 0.2, memory).training == first.training | only.training


def test_a_record_that_cannot_be_read_stops_the_training(tmp_path):
    for content in ("{", "[]", '{"training": []}', '{"training": 1, "validation": []}'):
        (tmp_path / "split.json").write_text(content)
        with pytest.raises(DataError, match=r"split\.json: .* cannot be read"):
            divide_and_remember(["a"], 0.2, tmp_path / "split.json")
        assert (tmp_path / "split.json").read_text() == content


def test_a_task_remembers(corrections, tmp_path, monkeypatch):
    class Images:
        def __init__(self, count):
            self.count = count

        def datalist(self):
            return [{"image": str(one.image), "label": str(one.label)} for one in corrections[: self.count]]

    def trained(command, log):
        (log.parent / "best_model.pt").write_bytes(b"weights")

    monkeypatch.setattr("lungfield.label.training._run", trained)
    task = FineTuneTask(WeightStore(find_bundle("unet"), tmp_path / "unet"))
    for count in (1, 2, 4, 7):
        task({"val_split": 0.3, "device": "cpu"}, Images(count))
    folders = sorted((tmp_path / "unet").glob("*/data"))
    learnt = set()
    for folder in folders:
        training, validation = set(ids(folder, "training")), set(ids(folder, "validation"))
        assert not validation & learnt
        learnt |= training
    assert len(folders) == 4


def test_a_file_of_the_working_directory_is_no_history(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "history.csv").write_text("epoch,val_mean_dice\n1,0.5\n")
    task = FineTuneTask(WeightStore(find_bundle("unet"), tmp_path / "unet"))
    assert task.stats() == {}
    newest = tmp_path / "unet" / "20240101T000000"
    (newest / "data").mkdir(parents=True)
    assert task.stats() == {}
    (newest / "history.csv").write_text("epoch,val_mean_dice\n1,0.7\n2,0.6\n")
    assert task.stats() == {"epoch": 2, "best_metric": 0.7}


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
    assert current.weights_sha256 != store.bundle.weights_sha256
    (second / "model.pt").unlink()
    assert store.current().weights == first / "model.pt"


def test_weights_that_were_replaced_have_another_hash(tmp_path):
    bundle = Bundle("mine", tmp_path / "mine", {})
    bundle.weights.parent.mkdir(parents=True)
    store, hashes = WeightStore(bundle, tmp_path / "later"), set()
    for content in (b"weights", b"others"):
        bundle.weights.write_bytes(content)
        hashes.add(store.current().weights_sha256)
    assert len(hashes) == 2


def test_bundles_are_chosen_by_name_and_folder(tmp_path):
    assert [one.name for one in chosen_bundles("")] == [one.name for one in all_bundles() if one.has_weights]
    assert [one.name for one in chosen_bundles("gsconv_unet, unet")] == ["gsconv_unet", "unet"]
    with pytest.raises(BundleError, match="no bundle 'nothing'"):
        chosen_bundles("unet,nothing")
    with pytest.raises(BundleError, match="same name"):
        chosen_bundles(f"unet,{find_bundle('unet').root}")
    untrained = tmp_path / "untrained"
    (untrained / "configs").mkdir(parents=True)
    for name in ("metadata.json", "inference.yaml"):
        (untrained / "configs" / name).write_bytes((find_bundle("unet").root / "configs" / name).read_bytes())
    with pytest.raises(BundleError, match="no weights"):
        chosen_bundles(str(untrained))
