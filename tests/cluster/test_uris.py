"""What URIs name, and what of them may be shown."""

from pathlib import Path

import pytest

from lungfield.cluster.options import ClusterOptions, parse_shard
from lungfield.cluster.uris import is_table, local_path, need_stores, place_of, protocol_of, without_secrets
from lungfield.errors import DataError


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/a/b.dcm", "s3://bucket/a/b.dcm"),
        ("s3://key:secret@bucket/a#1?.dcm", "s3://bucket/a#1?.dcm"),
        ("https://me:secret@host/a.dcm?X-Amz-Signature=secret#secret", "https://host/a.dcm"),
        ("https://host?secret", "https://host"),
        ("/data/a?b.dcm", "/data/a?b.dcm"),
    ],
)
def test_what_is_shown_holds_no_secret(uri, shown):
    assert without_secrets(uri) == shown


def test_files_of_one_address_and_other_queries_are_told_apart_without_the_query():
    first, second = place_of("https://host/wado?uid=secret1"), place_of("https://host/wado?uid=secret2")
    assert first != second
    assert first.startswith("https/host/wado#")
    assert "secret" not in first + second


def test_paths_of_this_machine_are_known():
    assert local_path("file:///data/in") == local_path("/data/in") == Path("/data/in")
    assert local_path("s3://bucket") is None
    assert not need_stores(["in", "more"], "out")
    assert need_stores(["in"], "s3://bucket/out")
    assert need_stores(["list.csv"], "out")
    assert is_table("https://host/list.PARQUET?signature=1")


def test_an_unknown_protocol_is_named():
    with pytest.raises(DataError, match=r"ftp://.* s3, "):
        protocol_of("ftp://host/a")


def test_shards_are_from_1_to_n():
    assert parse_shard("3/8") == (3, 8)
    for wrong in ("0/8", "9/8", "3", "a/b"):
        with pytest.raises(DataError, match="1/n to n/n"):
            parse_shard(wrong)


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(DataError, match="--shard"):
        ClusterOptions(engine="ray", shard=(1, 2)).checked()
    with pytest.raises(DataError, match="--engine ray"):
        ClusterOptions(ray_address="auto").checked()
    with pytest.raises(DataError, match="Unknown engine"):
        ClusterOptions(engine="dask").checked()
