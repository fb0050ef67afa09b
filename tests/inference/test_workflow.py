import numpy as np
import pytest
import torch
from PIL import Image

from lungfield.errors import BundleError, DataError, user_error
from lungfield.inference import find_bundle, workflow


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / "mine" / "configs"
    folder.mkdir(parents=True)
    (folder / "train.yaml").write_text("output_dir: x\ntrain: {trainer: {max_epochs: 1}}\n")
    (folder / "evaluate.yaml").write_text("section: test\nvalidate::dataset: null\n")
    return folder


def argv(*words):
    return ["monai", "run", *map(str, words)]


def test_known_overrides_pass(configs):
    both = f"['{configs / 'train.yaml'}', '{configs / 'evaluate.yaml'}']"
    workflow.check_overrides(argv("--config_file", both, "--output_dir", "y", "--section=validation"))
    workflow.check_overrides(
        argv("--config_file", configs / "train.yaml", "--train::trainer::max_epochs", "3")
    )
    workflow.check_overrides(argv("--config_file", configs / "train.yaml", "--train#trainer#max_epochs", "3"))
    workflow.check_overrides(
        argv("--config_file", configs / "train.yaml", "--meta_file", "m", "--run_id", "run")
    )
    workflow.check_overrides(["pytest", "--whatever"])


@pytest.mark.parametrize(
    "word", ["--outputdir", "--output-dirs=z", "--trian::trainer::max_epochs", "--section"]
)
def test_unknown_overrides_are_named_with_what_is_near(configs, word):
    with pytest.raises(BundleError) as caught:
        workflow.check_overrides(argv("--config_file", configs / "train.yaml", word, "z"))
    assert word.split("=")[0] in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == (word != "--section")


def test_root_is_that_of_the_config_that_is_run(configs, monkeypatch):
    monkeypatch.setattr("sys.argv", argv("--config_file", configs / "train.yaml"))
    assert workflow.bundle_root("unet") == str(configs.parent)
    monkeypatch.setattr("sys.argv", ["something", "else"])
    assert workflow.bundle_root("unet") == str(find_bundle("unet").root)


def test_weights_must_fit(tmp_path):
    network = torch.nn.Linear(3, 2)
    workflow.load_weights(network, None)
    torch.save({"network": {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}}, tmp_path / "whole.pt")
    workflow.load_weights(network, tmp_path / "whole.pt")
    assert torch.equal(network.weight, torch.ones(2, 3))
    (tmp_path / "models").mkdir()
    torch.save({"weight": torch.full((2, 3), 2.0), "bias": torch.zeros(2)}, tmp_path / "models" / "model.pt")
    workflow.load_weights(network, "shipped", bundle_root=tmp_path)
    assert torch.equal(network.weight, torch.full((2, 3), 2.0))
    torch.save({"weight": torch.ones(5, 3), "bias": torch.zeros(5)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("not weights")
    for name, message in [("other.pt", "Linear"), ("text.pt", "text.pt"), ("none.pt", "missing")]:
        with pytest.raises(BundleError, match=message):
            workflow.load_weights(network, tmp_path / name)


def test_weights_never_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BundleError):
        workflow.load_weights(torch.nn.Linear(3, 2), tmp_path / "evil.pt")
    assert not (tmp_path / "written").exists()


def test_list_of_radiographs_leaves_out_what_cannot_be_used(tmp_path, make_dicom, picture, caplog):
    make_dicom(tmp_path / "good.dcm", picture)
    make_dicom(tmp_path / "lateral.dcm", picture, ViewPosition="LL")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "out").mkdir()
    Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80)).save(tmp_path / "out" / "earlier.png")
    found = workflow.list_radiographs(tmp_path, tmp_path / "out")
    assert found == [{"image": str(tmp_path / "good.dcm")}]
    assert "lateral.dcm" in caplog.text
    (tmp_path / "good.dcm").unlink()
    (tmp_path / "out" / "earlier.png").unlink()
    with pytest.raises(DataError, match="2 files turned down"):
        workflow.list_radiographs(tmp_path, tmp_path / "out")


def test_masks_that_would_have_one_name_are_refused(tmp_path, make_dicom, picture):
    for name in ("1.2.840.1", "1.2.840.2", "a.dcm"):
        make_dicom(tmp_path / name, picture)
    assert len(workflow.list_radiographs(tmp_path, tmp_path / "out")) == 3
    saved = {
        workflow.name_to_save({"filename_or_obj": f"/x/{name}"}, None)["subject"] for name in ("1.2", "1.3")
    }
    assert saved == {"/x/1.2.png", "/x/1.3.png"}
    make_dicom(tmp_path / "a.dicom", picture)
    with pytest.raises(DataError, match="one name"):
        workflow.list_radiographs(tmp_path, tmp_path / "out")


@pytest.fixture
def checkpoints(tmp_path):
    """What a training of eight epochs saves, with three behind it."""
    from ignite.engine import Engine
    from ignite.handlers import Checkpoint, DiskSaver

    trainer = Engine(lambda _engine, _batch: None)
    trainer.state.max_epochs, trainer.state.epoch_length = 8, 10
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    parts = {"network": network, "optimizer": optimizer, "lr_scheduler": optimizer, "trainer": trainer}
    return Checkpoint(parts, DiskSaver(tmp_path, require_empty=False))


def test_a_checkpoint_must_be_one(tmp_path, checkpoints):
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "best_model.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name, message in [
        ("best_model.pt", "lacks network"),
        ("text.pt", "cannot be read"),
        ("no.pt", "missing"),
    ]:
        with pytest.raises(BundleError, match=message):
            workflow.resume(tmp_path / name, checkpoints, tmp_path)


def test_a_finished_run_says_how_to_go_on(tmp_path, checkpoints):
    state = {name: {} for name in checkpoints.to_save}
    state["trainer"] = {"iteration": 80, "epoch_length": 10, "max_epochs": 8}
    torch.save(state, tmp_path / "checkpoint_epoch=8.pt")
    with pytest.raises(BundleError, match="8 epochs behind it already"):
        workflow.resume(tmp_path / "checkpoint_epoch=8.pt", checkpoints, tmp_path)


def test_a_run_goes_on_with_epochs_of_the_same_length(tmp_path, checkpoints):
    """Or the place in the schedule, counted in steps, would be another one."""
    state = {name: {} for name in checkpoints.to_save}
    state["trainer"] = {"iteration": 15, "epoch_length": 5, "max_epochs": 8}
    torch.save(state, tmp_path / "checkpoint_epoch=3.pt")
    with pytest.raises(BundleError, match=r"had 5 steps .* have 10 now"):
        workflow.resume(tmp_path / "checkpoint_epoch=3.pt", checkpoints, tmp_path)


def test_the_users_error_is_found_behind_others():
    outer = RuntimeError("Failed to evaluate")
    outer.__cause__ = DataError("the folder is empty")
    assert str(user_error(outer)) == "the folder is empty"
    assert user_error(ValueError("ours to mend")) is None
