"""A state folder and what works on it, for the tests of the node."""

import sys
from pathlib import Path

import pytest

from lungfield.node.incoming import Incoming
from lungfield.node.settings import Limits, Settings
from lungfield.node.store import Store

sys.path.append(
    str(Path(__file__).parents[1] / "label")
)  # orthanc.py, which tests of both rooms start archives by


@pytest.fixture
def settings(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    return Settings(state=state, port=0, http="", limits=Limits(disk_free_bytes=0), workers=1)


@pytest.fixture
def store(settings):
    store = Store(settings.database)
    yield store
    store.close()


@pytest.fixture
def incoming(settings, store):
    incoming = Incoming(settings, store)
    incoming.prepare()
    return incoming
