"""What a user can mend is told in one line; a bug keeps its traceback."""

import itertools
import sys

import pytest

from lungfield.errors import DataError
from lungfield.excepthook import TRACEBACK, report_plainly


@pytest.fixture
def told(monkeypatch, capsys):
    """What is written on standard error when an exception ends the process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.delenv(TRACEBACK, raising=False)
    report_plainly()

    def tell(error, *behind):
        chain = [error, *behind]
        for outer, inner in itertools.pairwise(chain):
            outer.__cause__ = inner
        sys.excepthook(type(error), error, None)
        return capsys.readouterr().err

    return tell


def test_an_error_of_ours(told):
    outer = RuntimeError("Failed to evaluate ConfigExpression")
    assert told(outer, DataError("no folder a")) == "lungfield: no folder a\n"


def test_an_error_of_a_loaders_worker_is_the_line_that_matters(told):
    text = (
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "reading.py", line 1, in read\nlungfield.errors.UnreadableError: a.png is damaged.\n\n'
        "The above exception was the direct cause of the following exception:\n\nTraceback ..."
    )
    assert told(RuntimeError(text)) == "lungfield: a.png is damaged.\n"


def test_a_value_that_cannot_be_built_with(told):
    outer = RuntimeError("Failed to evaluate ConfigExpression: {...}")
    component = RuntimeError("Failed to instantiate component 'monai.transforms.Resized' with keywords: keys")
    message = told(outer, component, ValueError("spatial_size must be positive.\nmore"))
    assert message.startswith(
        "lungfield: Resized cannot be built: ValueError: spatial_size must be positive. "
    )
    assert TRACEBACK in message


def test_a_gpu_that_is_too_small(told):
    error = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate ...")
    assert "--batch_size" in told(RuntimeError("Failed to evaluate x"), error)


def test_an_interrupt(told):
    assert told(KeyboardInterrupt()) == "lungfield: interrupted.\n"


def test_a_bug_keeps_its_traceback(told, monkeypatch):
    assert "ValueError: a bug" in told(ValueError("a bug"))
    monkeypatch.setenv(TRACEBACK, "1")
    assert "DataError: no folder a" in told(DataError("no folder a"))


def test_what_fails_in_an_engine_at_work_keeps_its_traceback(told):
    from ignite.engine import Engine

    def fail(_engine, _batch):
        raise ValueError("a bug in a handler")

    with pytest.raises(ValueError, match="a bug") as caught:
        Engine(fail).run([1])
    message = told(RuntimeError("Failed to evaluate ConfigExpression"), caught.value)
    assert "a bug in a handler" in message
    assert not message.startswith("lungfield: ")
