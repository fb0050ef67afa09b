"""Runs over stores on one machine: the results of the engine for paths, whatever comes between."""

import json
import shutil

import pytest
from contents import contents

from lungfield.cluster import ClusterOptions
from lungfield.cluster.manifests import read_manifest, write_manifest
from lungfield.cluster.plan import read_run
from lungfield.cluster.stores import Store
from lungfield.errors import DataError


def state_of(bucket, s3):
    page = s3.list_objects_v2(Bucket=bucket, Prefix="out/.lungfield/")
    return {one["Key"]: one["LastModified"] for one in page["Contents"]}


def test_from_bucket_to_bucket_the_bytes_are_those_of_folders(
    inputs, tmp_path, bucket, s3, upload, download, as_ever, in_shards
):
    upload(inputs, bucket, "in")
    expected = contents(as_ever(inputs, tmp_path / "ever"))
    result = in_shards(f"s3://{bucket}/in", f"s3://{bucket}/out", report=True)
    assert contents(download(bucket, "out", tmp_path / "first")) == expected
    assert (result.count("done"), result.count("skipped"), result.count("failed")) == (6, 1, 1)
    assert result.to_json()["settings"]["inputs"] == [f"s3://{bucket}/in"]
    report = (tmp_path / "first" / "report.html").read_text()
    assert "overlays/ward/a.dcm.jpg" in report
    for path in (tmp_path / "first").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            assert b"Secret" not in path.read_bytes()

    with pytest.raises(DataError, match="--resume"):
        in_shards(f"s3://{bucket}/in", f"s3://{bucket}/out")
    with pytest.raises(DataError, match=r"inputs: .*instead of"):
        in_shards(f"s3://{bucket}/in/ward", f"s3://{bucket}/out", resume=True)

    # What failed by chance is done again, and nothing else is.
    store = Store(f"s3://{bucket}/out")
    outcomes = read_manifest(store, 0)
    for outcome in outcomes[:2]:
        outcome.row.update(status="failed", reason_code="timed-out")
    write_manifest(store, 0, outcomes)
    s3.delete_object(Bucket=bucket, Key="in/ward/a.dcm")
    lines = []
    in_shards(
        f"s3://{bucket}/in",
        f"s3://{bucket}/out",
        resume=True,
        progress=lambda progress: lines.append(progress.line()),
    )
    assert contents(download(bucket, "out", tmp_path / "second")) == expected
    assert lines[-1].startswith("8 of 8 files")


@pytest.mark.slow
def test_parts_of_a_run_make_the_results_of_one(inputs, tmp_path, as_ever, in_shards, monkeypatch):
    from lungfield.cluster import beginning

    monkeypatch.setattr(beginning, "shard_size", lambda _: 3)
    expected = contents(as_ever(inputs, tmp_path / "ever"))
    output = tmp_path / "out"
    first = in_shards(inputs, output, ClusterOptions(shard=(1, 2)))
    assert (len(first), first.planned) == (5, 8)  # of shards of 3, 3 and 2 the first and the third
    assert not (output / "results.csv").exists()
    second = in_shards(inputs, output, ClusterOptions(shard=(2, 2)))
    assert len(second) == 8
    assert contents(output) == expected
    assert sorted(path.name for path in (output / "results-parts").iterdir()) == [
        f"{number:08d}.parquet" for number in range(3)
    ]
    assert (read_run(Store(str(output))).files, read_run(Store(str(output))).size) == (8, 3)


@pytest.mark.slow
def test_a_file_that_vanishes_costs_itself(inputs, tmp_path, bucket, upload, s3, in_shards):
    upload(inputs, bucket, "in")
    table = tmp_path / "list.csv"
    table.write_text(f"uri\ns3://{bucket}/in/a.png\ns3://{bucket}/in/gone.png\n")
    result = in_shards(table, tmp_path / "out")
    rows = {row["file"]: row for row in result.files}
    assert (rows["a.png"]["status"], rows["a.png"]["reason"]) == ("done", "")
    assert (rows["gone.png"]["status"], rows["gone.png"]["reason_code"]) == ("failed", "inaccessible")
    assert rows["gone.png"]["reason"].startswith("no such file or bucket")
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


@pytest.mark.slow
def test_large_runs_have_parts_a_summary_and_a_sample(inputs, tmp_path, in_shards, monkeypatch):
    from lungfield.cluster import beginning, results, run, tally

    monkeypatch.setattr(beginning, "shard_size", lambda _: 3)
    monkeypatch.setattr(results, "WHOLE_TABLES", 5)
    monkeypatch.setattr(run, "WHOLE_TABLES", 5)
    monkeypatch.setattr(run, "SHOWN", 5)
    monkeypatch.setattr(tally, "SAMPLED", 1)
    output = tmp_path / "out"
    result = in_shards(f"file://{inputs}", output, report=True)
    assert not (output / "results.csv").exists()
    summary = json.loads((output / "results.json").read_text())
    assert "files" not in summary
    assert summary["summary"]["done"] == result.count("done") == 6
    assert summary["summary"]["flagged"] >= 2  # the duplicates
    page = (output / "report.html").read_text()
    assert "of 8 files: some that failed" in page
    assert '<a href="results-parts/">' in page
    assert len(list(result.files)) < 8

    monkeypatch.setattr(results, "WHOLE_TABLES", 100)
    monkeypatch.setattr(run, "WHOLE_TABLES", 100)
    (inputs / "lateral.dcm").unlink()
    shutil.rmtree(inputs / "ward")
    again = in_shards(f"file://{inputs}", output, overwrite=True)
    assert len(again) == 4
    assert not (output / "masks" / "ward" / "a.png").exists()
    assert not (output / "report.html").exists()
    assert (output / "results.csv").is_file()


def test_runs_of_two_kinds_do_not_share_a_folder(inputs, tmp_path, in_shards, as_ever):
    output = tmp_path / "out"
    (output / ".lungfield").mkdir(parents=True)
    (output / ".lungfield" / "run.json").write_text("{}")
    with pytest.raises(DataError, match="a sharded run"):
        as_ever(inputs, output)
    (output / ".lungfield" / "journal.sqlite").write_bytes(b"")
    with pytest.raises(DataError, match="not sharded"):
        in_shards(inputs, output)
