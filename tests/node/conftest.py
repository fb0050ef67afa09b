"""A state folder and what works on it, for the tests of the node."""

import pytest
from filled import fill, served

from lungfield.node.incoming import Incoming
from lungfield.node.settings import Limits, Settings
from lungfield.node.store import Store


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


@pytest.fixture
def filled(tmp_path):
    """A state folder with a radiograph in every state."""
    one = fill(tmp_path / "state")
    yield one
    one.store.close()


@pytest.fixture
def url(filled):
    """Where the page of that folder is."""
    with served(filled, {"receiving": lambda: ""}) as address:
        yield address
