import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import EarlyStopHandler
from monai.transforms import Compose, Resized

from lungfield.bundles.weights import note_preparation
from lungfield.errors import BundleError
from lungfield.training.checkpoints import BestWeights, ResumableCheckpoints, refuse_other_run


class Run:
    """A training of epochs of ten steps, whose validations reach the given scores."""

    def __init__(self, folder, scores=(), patience=9, **options):
        self.trainer, evaluator = Engine(lambda _engine, _batch: None), Engine(lambda _engine, _batch: None)
        self.trainer.state.max_epochs, self.trainer.state.epoch_length = 8, 10
        self.network = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
        self.early_stop = EarlyStopHandler(patience, lambda engine: engine.state.metrics["dice"])
        self.best = BestWeights(folder, self.network, "dice")
        self.save_dict = {
            "network": self.network,
            "averaged_network": self.network,
            "optimizer": optimizer,
            "lr_scheduler": self.schedule,
        }
        self.handler = ResumableCheckpoints(folder, self.save_dict, [self.early_stop, self.best], **options)
        for handler in (self.early_stop, self.best):
            handler.attach(evaluator)

        @self.trainer.on(Events.EPOCH_COMPLETED)
        def _validate(trainer):
            evaluator.state.metrics = {"dice": scores[trainer.state.epoch - 1]}
            with torch.no_grad():
                self.network.bias.fill_(trainer.state.epoch)
            evaluator.fire_event(Events.EPOCH_COMPLETED)

    def train(self, epochs=8):
        self.trainer.state.max_epochs = epochs
        self.handler.attach(self.trainer)
        self.trainer.run(range(10), max_epochs=epochs)
        return self


def files(folder):
    return {path.name for path in folder.glob("*.pt")}


def test_best_weights_and_the_last_two_checkpoints_are_kept(tmp_path):
    Run(tmp_path, [0.5, 0.9, 0.7, 0.6]).train(4)
    assert files(tmp_path) == {"best_model.pt", "checkpoint_epoch=3.pt", "checkpoint_epoch=4.pt"}
    assert torch.load(tmp_path / "best_model.pt", weights_only=True)["bias"].tolist() == [2, 2]


@pytest.mark.parametrize(("interval", "expected"), [(0, set()), (3, {"checkpoint_epoch=3.pt"})])
def test_checkpoints_are_written_as_often_as_asked_for(tmp_path, interval, expected):
    Run(tmp_path, [0.5, 0.9, 0.7, 0.6], save_interval=interval).train(4)
    assert files(tmp_path) == {"best_model.pt"} | expected


def test_training_stops_after_epochs_without_a_better_score(tmp_path):
    run = Run(tmp_path, [0.5, 0.9, 0.7, 0.6, 0.8, 0.8], patience=3, save_interval=0).train(6)
    assert run.trainer.state.epoch == 5


def test_a_run_goes_on_with_its_best_score_and_the_patience_that_is_left(tmp_path):
    scores = [0.5, 0.9, 0.7, 0.6, 0.8, 0.8]
    first = Run(tmp_path / "first", scores, patience=3).train(4)
    torch.nn.init.constant_(first.network.bias, 0)  # what is not in the file must not matter
    file = tmp_path / "first" / "checkpoint_epoch=4.pt"
    run = Run(tmp_path / "second", scores, patience=3, resume_from=file)
    run.handler.attach(run.trainer)
    assert run.network.bias.tolist() == [4, 4]
    assert run.schedule.last_epoch == first.schedule.last_epoch
    run.trainer.run(range(10), max_epochs=8)
    assert run.trainer.state.epoch == 5
    assert torch.load(tmp_path / "second" / "best_model.pt", weights_only=True)["bias"].tolist() == [2, 2]


def test_without_its_best_weights_a_run_saves_the_best_of_what_is_to_come(tmp_path):
    scores = [0.9, 0.5, 0.7, 0.6]
    Run(tmp_path, scores).train(2)
    (tmp_path / "best_model.pt").unlink()
    Run(tmp_path, scores, resume_from=tmp_path / "checkpoint_epoch=2.pt").train(4)
    assert torch.load(tmp_path / "best_model.pt", weights_only=True)["bias"].tolist() == [3, 3]


def test_a_checkpoint_must_be_one(tmp_path):
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "best_model.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name, message in [
        ("best_model.pt", "lacks network"),
        ("text.pt", "cannot be read"),
        ("no.pt", "missing"),
    ]:
        with pytest.raises(BundleError, match=message):
            Run(tmp_path, resume_from=tmp_path / name).train()


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"iteration": 80, "epoch_length": 10}, "8 epochs behind it already"),
        # Or the place in the schedule, counted in steps, would be another one.
        ({"iteration": 15, "epoch_length": 5}, r"had 5 steps .* have 10 now"),
    ],
)
def test_a_run_goes_on_with_epochs_that_are_left_and_as_long(tmp_path, trainer, message):
    Run(tmp_path, [0.5]).train(1)
    file = tmp_path / "checkpoint_epoch=1.pt"
    torch.save(torch.load(file, weights_only=True) | {"trainer": trainer | {"max_epochs": 8}}, file)
    with pytest.raises(BundleError, match=message):
        Run(tmp_path, resume_from=file).train()


def test_a_run_goes_on_with_images_of_the_same_size(tmp_path):
    def run(side, **options):
        run = Run(tmp_path, [0.5], **options)
        note_preparation(run.network, Compose([Resized("image", spatial_size=(side, side))]))
        return run

    run(64).train(1)
    with pytest.raises(BundleError, match="64 x 64, but this run uses"):
        run(256, resume_from=tmp_path / "checkpoint_epoch=1.pt").train()


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
