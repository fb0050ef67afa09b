"""Start a run, or continue the one in the output store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from lungfield import export
from lungfield.batch.inputs import PARTS, require_writable
from lungfield.batch.journal import FOLDER
from lungfield.batch.options import Options
from lungfield.batch.outputs import ALL_FORMATS
from lungfield.batch.run import require_same_settings
from lungfield.cluster.catalogue import Catalogue
from lungfield.cluster.duplicates import DUPLICATES
from lungfield.cluster.listing import list_inputs
from lungfield.cluster.manifests import MANIFESTS, finished_shards, read_manifest
from lungfield.cluster.options import ClusterOptions
from lungfield.cluster.plan import PLAN, RUN, Run, read_run, shard_size, write_plan, write_run
from lungfield.cluster.stores import Store
from lungfield.cluster.uris import READ_ONLY, protocol_of, without_secrets
from lungfield.errors import DataError, OutputError

logger = logging.getLogger(__name__)

_JOURNAL = f"{FOLDER}/journal.sqlite"
_WRITABLE = f"{FOLDER}/writable"
_WAIT_S, _LONGEST_WAIT_S = 2.0, 3600.0


def open_run(
    inputs: Sequence[str],
    store: Store,
    settings: dict[str, Any],
    options: Options,
    cluster: ClusterOptions,
) -> Run:
    """The run to continue, or a new one with its plan written.

    Args:
        inputs: paths and URIs.
        store: the output store.
        settings: from `batch.run.settings_of`.
        options: of the batch.
        cluster: the shards of this process.

    Raises:
        DataError: an input cannot be read, there is nothing to segment, or the store holds another run.
        OutputError: the store cannot be written to.
    """
    if protocol_of(store.uri) in READ_ONLY:
        raise OutputError(f"{store}: a web server cannot be written to; give a bucket or a folder.")
    if store.local is not None:
        require_writable(store.local)
        if store.has(_JOURNAL):
            raise DataError(f"{store} holds a run that is not sharded. Choose another output folder.")
    if cluster.shard and options.overwrite:
        raise DataError("A part of a run cannot overwrite another run: choose another output folder.")
    before = read_run(store)
    if before is None and cluster.shard and cluster.shard[0] > 1:
        before = _waited_for(store)
    if before is not None and options.overwrite:
        _remove_results(store)
        before = None
    if before is None:
        return _begun(inputs, store, settings, options, cluster)
    if not (cluster.shard or options.resume):
        raise DataError(
            f"{store} holds the results of a run. Continue it with --resume, replace it with --overwrite, or "
            "choose another output folder."
        )
    require_same_settings(
        before.settings | {"inputs": before.inputs}, settings | {"inputs": _shown(inputs)}, str(store)
    )
    return before


def _begun(
    inputs: Sequence[str], store: Store, settings: dict[str, Any], options: Options, cluster: ClusterOptions
) -> Run:
    """List the inputs and write the plan; `write_run` comes last and marks the run as started."""
    store.write(_WRITABLE, b"")  # fail before millions of keys are listed
    for folder in (PLAN, MANIFESTS, DUPLICATES, PARTS):  # of a run whose start or removal was interrupted
        store.remove(f"{folder}/{name}" for name in list(store.names(folder)))
    started = export.creation_time().isoformat()
    with Catalogue() as catalogue:
        left_out = list_inputs(inputs, store.uri, catalogue, options, column=cluster.column)
        for remark in left_out.remarks:
            logger.info("%s", remark)
        files = catalogue.finish()
        if not files:
            raise DataError(
                f"No radiograph in {', '.join(_shown(inputs))}. Name files, folders that hold some, or a "
                "table of URIs."
            )
        size = shard_size(files)
        write_plan(store, catalogue, size)
    run = Run(started, settings, _shown(inputs), files, size, left_out.counts, left_out.remarks)
    write_run(store, run)
    return run


def _waited_for(store: Store) -> Run:
    """Wait for the run that part 1 starts: it lists the inputs for all parts."""
    end = time.monotonic() + _LONGEST_WAIT_S
    while time.monotonic() < end:
        if (run := read_run(store)) is not None:
            return run
        time.sleep(_WAIT_S)
    raise DataError(
        f"No run was started in {store} within an hour. Part 1 lists the inputs for all parts: start "
        "--shard 1/n too."
    )


def _remove_results(store: Store) -> None:
    """Remove the record of a run, then all of its results."""
    store.remove([RUN])
    for shard in sorted(finished_shards(store)):
        rows = (outcome.row for outcome in read_manifest(store, shard))
        store.remove(row[name] for row in rows for name in ALL_FORMATS if row.get(name))


def _shown(inputs: Sequence[str]) -> list[str]:
    return [without_secrets(text) for text in inputs]
