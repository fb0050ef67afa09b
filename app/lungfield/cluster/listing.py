"""List the inputs of a run: folders in stores and on this machine, single files, and tables of URIs."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from lungfield.batch.inputs import FILTERED, WRITTEN, find_inputs, is_chosen
from lungfield.batch.options import Options
from lungfield.cluster.catalogue import Catalogue, Listed
from lungfield.cluster.stores import explained, filesystem_of, key_of, pages, starts
from lungfield.cluster.uris import (
    READ_ONLY,
    is_table,
    is_uri,
    local_path,
    place_of,
    protocol_of,
    without_secrets,
)
from lungfield.errors import DataError
from lungfield.formats import NIFTI_PAIR, RADIOGRAPHS
from lungfield.names import shown
from lungfield.radiograph.dicomdir import is_dicomdir
from lungfield.radiograph.files import EARLIER_RUNS, RUN_FOLDER, LeftOut
from lungfield.radiograph.sniffing import START_BYTES, starts_as_dicom

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 10_000
_NO_NAMES = {"", ".", ".."}


@dataclass
class LeftOutOfAll:
    """The files that were left out of all inputs.

    Attributes:
        counts: number of files by kind.
        remarks: the same as text.
    """

    counts: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, counts: dict[str, int], remarks: Sequence[str]) -> None:
        """Add the files that were left out of one input."""
        for kind, count in counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        self.remarks.extend(remarks)


def list_inputs(
    inputs: Sequence[str], output: str, catalogue: Catalogue, options: Options, *, column: str
) -> LeftOutOfAll:
    """Add all files of the inputs to a catalogue, a page at a time.

    Args:
        inputs: paths and URIs of files, folders and tables.
        output: the output folder; files in a local one are not inputs.
        catalogue: an empty one.
        options: its `include` and `exclude` apply to folders, not to single files and tables.
        column: name of the tables' column with URIs.

    Returns:
        The files that were left out.

    Raises:
        DataError: an input does not exist or cannot be read, or there is nothing to segment.
    """
    left_out = LeftOutOfAll()
    paths = [path for text in inputs if not is_table(text) and (path := local_path(text)) is not None]
    if paths:
        found = find_inputs(paths, local_path(output), options)
        places = ((str(file.path.absolute()), file.relative.as_posix()) for file in found.files)
        catalogue.add(0, (Listed(path, place_of(path), relative) for path, relative in places))
        left_out.add(dict(found.left_out), found.remarks)
    for number, text in enumerate(inputs, 1):
        if is_table(text):
            _add_table(number, text, catalogue, column)
        elif local_path(text) is None:
            _add_stored(number, text, catalogue, left_out, options)
    return left_out


def _add_stored(
    number: int, uri: str, catalogue: Catalogue, left_out: LeftOutOfAll, options: Options
) -> None:
    """Add a file or a folder of a store."""
    if protocol_of(uri) in READ_ONLY:
        catalogue.add(number, [Listed(uri, place_of(uri), posixpath.basename(place_of(uri)))])
        return
    with explained(uri):
        about = filesystem_of(protocol_of(uri)).info(key_of(uri))
    if about["type"] == "file":
        catalogue.add(number, [Listed(uri, place_of(uri), posixpath.basename(key_of(uri)), about["size"])])
        return
    folder = _Folder(uri)
    filtered = 0
    for page in pages(uri, key_of(uri), recursive=True):
        files = folder.inputs(page)
        chosen = [file for file in files if is_chosen(PurePosixPath(str(file.order)), options)]
        filtered += len(files) - len(chosen)
        catalogue.add(number, chosen)
    if filtered:
        left_out.add({FILTERED: filtered}, [f"left out: {filtered} files by --include and --exclude"])
    runs = WRITTEN if "" in folder.runs else ()
    for run in (*runs, *filter(None, folder.runs)):
        catalogue.drop_below(number, run)
    if count := len(folder.runs - {""}):
        folder.left_out.counts[EARLIER_RUNS] += count
    left_out.add(dict(folder.left_out.counts), folder.left_out.remarks())
    if folder.unnamed:
        left_out.remarks.append(f"left out: {folder.unnamed} keys with empty parts, '.' or '..': rename them")


class _Folder:
    """Selects the inputs in a folder of a store, by the same rules as on a disk.

    Attributes:
        runs: folders with the results of an earlier run.
        left_out: files that are no inputs.
        unnamed: number of keys that are not valid paths.
    """

    def __init__(self, uri: str) -> None:
        self._protocol, self._base = protocol_of(uri), key_of(uri)
        self._headers: set[str] = set()
        self.runs: set[str] = set()
        self.left_out = LeftOut()
        self.unnamed = 0

    def inputs(self, page: Sequence[tuple[str, int]]) -> list[Listed]:
        """The inputs of a page of keys and sizes."""
        kept: list[Listed] = []
        unknown: list[Listed] = []
        for key, size in page:
            relative = key[len(self._base) + 1 :]
            if self._is_file(relative):
                uri = f"{self._protocol}://{key}"
                is_known = relative.lower().endswith(RADIOGRAPHS)
                (kept if is_known else unknown).append(Listed(uri, place_of(uri), relative, size, relative))
        for file, start in zip(unknown, starts([file.uri for file in unknown], START_BYTES), strict=True):
            if starts_as_dicom(start, file.size or 0):
                kept.append(file)
            else:
                self.left_out.add(Path(file.order))
        return kept

    def _is_file(self, relative: str) -> bool:
        """Whether a key may be an input, before its suffix and content are checked."""
        *folders, name = parts = relative.split("/")
        if not name:  # some tools create such a key for a folder
            return False
        if _NO_NAMES.intersection(parts):
            self.unnamed += 1
            return False
        if RUN_FOLDER in folders:
            self.runs.add("/".join(folders[: folders.index(RUN_FOLDER)]))
        if any(part.startswith(".") for part in parts) or "__MACOSX" in folders or is_dicomdir(Path(name)):
            return False
        if "" in self.runs and parts[0] in WRITTEN:
            return False
        if self.runs and any("/".join(folders[:count]) in self.runs for count in range(1, len(folders) + 1)):
            return False
        return not self._is_second_of_pair(relative)

    def _is_second_of_pair(self, relative: str) -> bool:
        """Whether a file is the image of a NIfTI pair, whose header comes just before it in the listing."""
        header, image = NIFTI_PAIR
        lower = relative.lower()
        if lower.endswith(header):
            folder = posixpath.dirname(lower)
            self._headers = {one for one in self._headers if posixpath.dirname(one) == folder} | {lower}
        return lower.endswith(image) and lower.removesuffix(image) + header in self._headers


def _add_table(number: int, table: str, catalogue: Catalogue, column: str) -> None:
    """Add the files in a table, or in a text file with one path or URI per line."""
    folder = table.rpartition("/")[0] if is_uri(table) else str(Path(table).absolute().parent)
    lines = (line.strip() for line in _column(table, column))
    uris = (
        line if is_uri(line) or PurePosixPath(line).is_absolute() else f"{folder}/{line}"
        for line in lines
        if line
    )
    files = (Listed(uri, place_of(uri), None) for uri in uris)
    while some := list(islice(files, _ROWS_AT_ONCE)):
        for file in some:
            if _NO_NAMES.intersection(file.place.split("/")):
                raise DataError(
                    f"{without_secrets(table)} lists {shown(without_secrets(file.uri))}, which is no valid "
                    "path: it has empty parts, '.' or '..'."
                )
        catalogue.add(number, some)


def _column(table: str, column: str) -> Iterator[str]:
    """The lines of a text file, or the values of a table's column, read in batches."""
    with explained(table), _opened(table) as file:
        if table.lower().endswith(".txt"):
            yield from (line.decode("utf-8", "surrogateescape") for line in file)
            return
        try:
            yield from _values(file, column, is_csv=table.lower().endswith(".csv"))
        except (KeyError, ValueError) as error:  # pyarrow's errors are ValueError or KeyError
            raise DataError(
                f"{without_secrets(table)} is no table with a column {column!r} of paths or URIs; give the "
                "name of the column with --column."
            ) from error


def _values(file: BinaryIO, column: str, *, is_csv: bool) -> Iterator[str]:
    # Imported on use, as the imports are slow.
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    batches: Any
    if is_csv:
        only = pyarrow.csv.ConvertOptions(include_columns=[column], column_types={column: pyarrow.string()})
        batches = pyarrow.csv.open_csv(file, convert_options=only)
    else:
        table = pyarrow.parquet.ParquetFile(file)
        if column not in table.schema_arrow.names:
            raise KeyError(column)
        batches = table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column])
    for batch in batches:
        yield from (str(value) for value in batch.column(0).to_pylist() if value)


def _opened(table: str) -> Any:
    path = local_path(table)
    return filesystem_of(protocol_of(table)).open(key_of(table), "rb") if path is None else path.open("rb")
