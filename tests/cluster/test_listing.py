"""What a run over stores takes for inputs: the same files, order and names as on a disk."""

from pathlib import Path, PurePath

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from lungfield.batch import Options
from lungfield.batch.inputs import find_inputs
from lungfield.cluster import stores
from lungfield.cluster.catalogue import Catalogue, Listed
from lungfield.cluster.listing import list_inputs
from lungfield.cluster.plan import Run, read_plan, shard_size, write_plan
from lungfield.cluster.stores import Store
from lungfield.cluster.uris import need_stores, place_of
from lungfield.errors import DataError
from lungfield.radiograph import output_stems
from lungfield.radiograph.files import InputFile

NAMES = [
    "b/z.dcm",
    "a.dcm",
    "a.png",
    "A.jpg",
    "b.dcm",
    "b/a.dcm",
    "b-c/a.dcm",
    "c",
    "c.dcm",
    "d.nii.gz",
    "b/Z.DCM",
]


def listed(inputs, output="out", column="uri", **options):
    with Catalogue() as catalogue:
        texts = [str(one) for one in inputs]
        left_out = list_inputs(texts, output, catalogue, Options(**options), column=column)
        catalogue.finish()
        return list(catalogue), left_out


def test_names_of_results_are_those_of_one_machine():
    files = [InputFile(Path("/in") / name, PurePath(name)) for name in sorted(NAMES, key=Path)]
    stems = output_stems(files)
    with Catalogue() as catalogue:
        catalogue.add(0, [Listed(f"s3://b/{name}", f"s3/b/{name}", name, 1, name) for name in NAMES])
        assert catalogue.finish() == len(NAMES)
        found = list(catalogue)
    assert [item.relative for item in found] == [file.relative.as_posix() for file in files]
    assert [item.name for item in found] == [stems[file.path].as_posix() for file in files]


def test_a_file_that_is_met_twice_counts_once_and_names_that_collide_get_their_folders():
    with Catalogue() as catalogue:
        catalogue.add(
            1, [Listed(uri, place_of(uri), "x.dcm") for uri in ("s3://b/1/x.dcm", "s3://b/1/x.dcm")]
        )
        catalogue.add(2, [Listed("s3://b/2/x.dcm", "s3/b/2/x.dcm", "x.dcm")])
        assert catalogue.finish() == 2
        assert [item.relative for item in catalogue] == ["1/x.dcm", "2/x.dcm"]


def test_a_bucket_is_listed_as_a_folder_is(inputs, bucket, upload):
    (inputs / "old" / ".lungfield").mkdir(parents=True)
    (inputs / "old" / ".lungfield" / "run.json").write_text("{}")
    (inputs / "old" / "masks").mkdir()
    (inputs / "old" / "masks" / "a.png").write_bytes((inputs / "a.png").read_bytes())
    (inputs / "pair.hdr").write_bytes(b"header")
    (inputs / "pair.img").write_bytes(b"pixels")
    upload(inputs, bucket, "x/in")
    on_disk = find_inputs([inputs], None, Options())
    found, left_out = listed([f"s3://{bucket}/x/in/"])
    assert [item.relative for item in found] == [file.relative.as_posix() for file in on_disk.files]
    assert [item.size for item in found] == [file.path.stat().st_size for file in on_disk.files]
    assert left_out.counts == on_disk.left_out
    assert left_out.remarks == list(on_disk.remarks)


def test_of_a_bucket_the_same_files_are_chosen_as_of_a_folder(inputs, bucket, upload):
    upload(inputs, bucket, "in")
    options = {"include": ("*.dcm", "*.png"), "exclude": ("ward",)}
    on_disk = find_inputs([inputs], None, Options(**options))
    found, left_out = listed([f"s3://{bucket}/in"], **options)
    assert [item.relative for item in found] == [file.relative.as_posix() for file in on_disk.files]
    assert 0 < len(found) < 8
    assert left_out.counts["filtered"] == on_disk.left_out["filtered"]


def test_a_listing_of_several_pages_is_whole(bucket, s3, monkeypatch):
    monkeypatch.setattr(stores, "_PAGE", 4)
    for number in range(10):
        s3.put_object(Bucket=bucket, Key=f"in/{number:04d}.dcm", Body=b"")
    s3.put_object(Bucket=bucket, Key="in/a/../b.dcm", Body=b"")
    found, left_out = listed([f"s3://{bucket}/in"])
    assert [item.relative for item in found] == [f"{number:04d}.dcm" for number in range(10)]
    assert "1 keys" in left_out.remarks[0]


@pytest.mark.parametrize("kind", ["csv", "parquet", "txt"])
def test_tables_name_files_relative_to_the_folder_they_share(kind, tmp_path):
    table = tmp_path / f"list.{kind}"
    uris = ["s3://one/study/b/x.dcm", "s3://one/study/a/x.dcm", "s3://one/study/a/y.dcm"]
    if kind == "txt":
        table.write_text("\n".join([*uris, ""]))
    else:
        columns = pyarrow.table({"patient": [1, 2, 3], "where": uris})
        module = pyarrow.csv.write_csv if kind == "csv" else pyarrow.parquet.write_table
        module(columns, table)
    found, _ = listed([table], column="where")
    assert [item.uri for item in found] == uris  # in the table's order
    assert [item.relative for item in found] == ["b/x.dcm", "a/x.dcm", "a/y.dcm"]
    if kind != "txt":
        with pytest.raises(DataError, match=r"no table with a column 'uri'.*--column"):
            listed([table])


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "scans.csv").mkdir()
    assert not need_stores([str(tmp_path / "scans.csv")], "out")


def test_a_table_may_name_paths_from_its_own_folder(tmp_path, inputs):
    table = tmp_path / "list.txt"
    table.write_text("in/a.png\nin/ward/a.dcm\n")
    found, _ = listed([table])
    assert [item.uri for item in found] == [str(inputs / "a.png"), str(inputs / "ward" / "a.dcm")]
    table.write_text("in/../a.png\n")
    with pytest.raises(DataError, match="is no valid path"):
        listed([table])


def test_a_plan_is_read_as_it_was_written(tmp_path):
    store = Store(str(tmp_path))
    with Catalogue() as catalogue:
        names = [*(f"{number}.dcm" for number in range(9)), "odd\udce9.dcm"]
        catalogue.add(0, (Listed(f"/in/{name}", f"file/in/{name}", name, 7, name) for name in names))
        catalogue.finish()
        items = list(catalogue)
        write_plan(store, catalogue, 4)
    run = Run("now", {}, [], files=10, size=4)
    assert [item for shard in range(run.shards) for item in read_plan(store, shard)] == items
    assert [run.files_in([shard]) for shard in range(run.shards)] == [4, 4, 2]
    assert run.files_in(range(run.shards)) == 10


@pytest.mark.parametrize(
    ("files", "size"), [(1, 32), (300, 32), (100_000, 391), (1_000_000, 1000), (100_000_000, 1000)]
)
def test_shards_are_small_for_few_files_and_bounded_for_many(files, size):
    assert shard_size(files) == size
