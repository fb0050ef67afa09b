import pytest
import torch
from ignite.engine import Engine
from ignite.handlers import Checkpoint, DiskSaver
from monai.transforms import Compose, Resized

from lungfield.bundles.weights import note_preparation
from lungfield.errors import BundleError
from lungfield.training.checkpoints import refuse_other_run, resume


@pytest.fixture
def checkpoints(tmp_path):
    """What a training of eight epochs saves, with three behind it."""
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
            resume(tmp_path / name, checkpoints, tmp_path)


def test_a_finished_run_says_how_to_go_on(tmp_path, checkpoints):
    state = {name: {} for name in checkpoints.to_save}
    state["trainer"] = {"iteration": 80, "epoch_length": 10, "max_epochs": 8}
    torch.save(state, tmp_path / "checkpoint_epoch=8.pt")
    with pytest.raises(BundleError, match="8 epochs behind it already"):
        resume(tmp_path / "checkpoint_epoch=8.pt", checkpoints, tmp_path)


def test_a_run_goes_on_with_epochs_of_the_same_length(tmp_path, checkpoints):
    """Or the place in the schedule, counted in steps, would be another one."""
    state = {name: {} for name in checkpoints.to_save}
    state["trainer"] = {"iteration": 15, "epoch_length": 5, "max_epochs": 8}
    torch.save(state, tmp_path / "checkpoint_epoch=3.pt")
    with pytest.raises(BundleError, match=r"had 5 steps .* have 10 now"):
        resume(tmp_path / "checkpoint_epoch=3.pt", checkpoints, tmp_path)


def test_a_run_goes_on_with_images_of_the_same_size(tmp_path, checkpoints):
    def noted(side):
        return note_preparation(torch.nn.Linear(3, 2), Compose([Resized("image", spatial_size=(side, side))]))

    checkpoints.to_save["network"] = noted(256)
    state = {name: {} for name in checkpoints.to_save} | {"network": noted(64).state_dict()}
    torch.save(state, tmp_path / "checkpoint_epoch=3.pt")
    with pytest.raises(BundleError, match="64 x 64, but this run uses"):
        resume(tmp_path / "checkpoint_epoch=3.pt", checkpoints, tmp_path)


@pytest.mark.parametrize(
    "name", ["weights/best_model.pt", "weights/checkpoint_epoch=3.pt", "run/history.csv"]
)
def test_an_earlier_run_is_not_trained_over(name, tmp_path):
    weights, output = tmp_path / "weights", tmp_path / "run"
    refuse_other_run(None, weights, output)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("of an earlier run")
    for start in (None, tmp_path / "other" / "checkpoint_epoch=3.pt"):
        with pytest.raises(BundleError, match=f"{(tmp_path / name).name} belongs to another training"):
            refuse_other_run(start, weights, output)
    refuse_other_run(weights / "checkpoint_epoch=3.pt", weights, output)
