"""The table of epochs that training leaves."""

import csv

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from lungfield.training.history import HistoryHandler, TensorBoardHandler


def run(folder, *, epochs, first_epoch=0, interval=1):
    """Train for `epochs` on two batches, of three images with loss 1 and of one with loss 5."""
    losses = iter([1.0, 5.0] * epochs)

    def train(engine, batch):
        engine.state.output = {"loss": torch.tensor(next(losses)), "pred": torch.zeros(batch, 1)}
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        return engine.state.output

    def validate(engine, batch):
        engine.state.output = {"pred": torch.zeros(batch, 1), "label": torch.full((batch, 1), 2.0)}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        return engine.state.output

    trainer, validator = Engine(train), Engine(validate)
    for engine in (trainer, validator):
        engine.register_events(*IterationEvents)

    @validator.on(Events.COMPLETED)
    def _score(engine):
        engine.state.metrics["val_mean_dice"] = trainer.state.epoch / 10

    @trainer.on(Events.EPOCH_COMPLETED(every=interval))
    def _validate(_engine):
        validator.run([4, 2])

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    HistoryHandler(folder, validator, torch.nn.MSELoss(), optimizer).attach(trainer)
    trainer.load_state_dict({"epoch": first_epoch, "epoch_length": 2, "max_epochs": epochs})
    trainer.run([3, 1], max_epochs=epochs)
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_row_an_epoch_with_means_over_images(tmp_path):
    first, second = run(tmp_path, epochs=2)
    assert (first["epoch"], second["epoch"]) == ("1", "2")
    assert float(first["train_loss"]) == pytest.approx((3 * 1 + 1 * 5) / 4)
    assert float(first["val_loss"]) == pytest.approx(4)
    assert (first["val_mean_dice"], second["val_mean_dice"]) == ("0.1", "0.2")
    assert first["learning_rate"] == "0.5"
    assert float(first["seconds"]) >= 0


def test_epochs_without_validation_leave_it_empty(tmp_path):
    first, second = run(tmp_path, epochs=2, interval=2)
    assert first["val_loss"] == first["val_mean_dice"] == ""
    assert second["val_mean_dice"] == "0.2"


def test_a_resumed_run_keeps_the_epochs_before_it(tmp_path):
    before = run(tmp_path, epochs=3)
    after = run(tmp_path, epochs=4, first_epoch=2)
    assert [row["epoch"] for row in after] == ["1", "2", "3", "4"]
    assert after[:2] == before[:2]


def test_a_new_run_starts_its_table_anew(tmp_path):
    run(tmp_path, epochs=3)
    assert len(run(tmp_path, epochs=1)) == 1


def test_tensorboard_creates_its_folder_once_when_the_run_starts(tmp_path):
    def validate(engine, _batch):
        engine.state.metrics["dice"] = 0.5

    validator = Engine(validate)
    TensorBoardHandler(tmp_path / "tensorboard", iteration_log=False).attach(validator)
    assert not (tmp_path / "tensorboard").exists()
    for _ in range(2):
        validator.run([1])
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"dice" in events.read_bytes()


def test_tensorboard_refuses_unknown_options(tmp_path):
    with pytest.raises(TypeError, match="iteration_logs"):
        TensorBoardHandler(tmp_path, iteration_logs=False)
