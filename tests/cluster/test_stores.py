"""Stores: whole files by name, and errors that say what to do without a secret in them."""

import functools
import http.server
import threading

import pytest

from lungfield.cluster import stores
from lungfield.cluster.stores import Store, download
from lungfield.errors import DataError, OutputError, UnreadableError


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path, s3):
    if request.param == "folder":
        return Store(str(tmp_path))
    s3.create_bucket(Bucket="anystore")
    return Store("s3://anystore/below/")


def test_what_is_written_is_read_listed_and_removed(store):
    assert not store.has("a/b.json")
    assert list(store.names("a")) == []
    store.write("a/b.json", b"{}")
    store.write("a/b.json", b"[]")
    store.write("a/c/d.json", b"")
    assert store.read("a/b.json") == b"[]"
    assert store.has("a/b.json")
    assert list(store.names("a")) == ["b.json"]
    store.remove(["a/b.json", "a/none.json", "a/c/d.json"])
    assert list(store.names("a")) == []
    with pytest.raises(DataError, match=r"a/b\.json: no such file"):
        store.read("a/b.json")


def test_a_bucket_that_is_not_there_is_named(s3):
    with pytest.raises(DataError, match="s3://nobucketofthisname/a: no such file or bucket"):
        Store("s3://nobucketofthisname").read("a")
    with pytest.raises(UnreadableError, match="no such file") as found:
        download("s3://nobucketofthisname/a", "/dev/null")
    assert found.value.reason == "inaccessible"


def test_a_web_server_is_read_and_not_written_to(tmp_path, in_shards):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "a.png").write_bytes(b"picture")
        download(f"{address}/a.png?token=secret", tmp_path / "copy.png")
        assert (tmp_path / "copy.png").read_bytes() == b"picture"
        with pytest.raises(UnreadableError, match="no such file") as found:
            download(f"{address}/b.png?token=secret", tmp_path / "copy.png")
        assert "secret" not in str(found.value)
        server.shutdown()
    with pytest.raises(OutputError, match="https://host/out: a web server cannot be written to"):
        in_shards(tmp_path, "https://me:secret@host/out")


def test_a_package_that_is_missing_is_named(monkeypatch):
    import fsspec

    def fails(*_, **__):
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", fails)
    stores.filesystem_of.cache_clear()
    with pytest.raises(DataError, match=r"pip install 'lungfield\[ray\]' gcsfs"):
        Store("gs://bucket/out")
    stores.filesystem_of.cache_clear()


@pytest.mark.parametrize(
    "error", [PermissionError("key AKIASECRET"), ConnectionError("http://me:AKIASECRET@host")]
)
def test_what_a_store_says_is_not_repeated(error):
    with pytest.raises(OutputError) as found, stores.explained("s3://me:AKIASECRET@b/x", writing=True):
        raise error
    assert "AKIASECRET" not in str(found.value)
    assert "s3://b/x: " in str(found.value)
