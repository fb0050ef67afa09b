"""The way into a batch, quick to import: the workers' imports begin before those of the run itself."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungfield.batch.interrupts import interruptible
from lungfield.batch.options import Options
from lungfield.batch.processes import start_forkserver, stop_forkserver
from lungfield.bundles.classes import require_structures
from lungfield.bundles.registry import DEFAULT_BUNDLE, Bundle, find_bundle, require_weights
from lungfield.errors import DataError

if TYPE_CHECKING:
    from lungfield.batch.results import BatchResult
    from lungfield.batch.run import Progress


def segment_files(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> BatchResult:
    """Segment files and folders into `output`, whose sub-folders mirror the tree of the inputs.

    Written are the formats asked for, results.csv, results.json and results.parquet with one row an input,
    and report.html. One bad file never ends the batch. Whatever ends it, each file's results are complete or
    not there, and `Options.resume` goes on; the results are those of a run that was not interrupted.

    It starts processes: in a script, call it below `if __name__ == "__main__":`.

    Args:
        inputs: files and folders of this machine, or one of them; for URIs and lists,
            `lungfield.cluster.segment_stores`.
        output: folder of the results, made where missing.
        bundle: name of a shipped bundle, or the folder of any other that you trust.
        options: how to go about it.
        progress: called with the number of files that have ended, that of all files, and the row of the one
            that just did (None at the start).

    Raises:
        BundleError: there is no such bundle, it has no weights, its network does not give a structure that is
            asked for, or the device is not there.
        DataError: an input or the folder of references does not exist or holds nothing, or the options leave
            nothing of the inputs; the output folder holds another run, or one is at work there.
        OutputError: the output folder cannot be written, or its disk is full.
        Interrupted: by SIGINT or SIGTERM.
    """
    options = (options or Options()).checked()
    paths = [_path(one) for one in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    folder = _path(output)
    found = find_bundle(bundle)
    require_structures(found, options.structures)
    require_weights(found)
    with interruptible(), forkserver(found, options) as start:
        from lungfield.batch.run import run

        return run(paths, folder, found, options, start, progress)


def _path(place: str | Path) -> Path:
    if "://" in str(place):  # not shown whole: it may hold a password or a signature
        scheme = str(place).partition("://")[0]
        raise DataError(
            f"{scheme}://... is a URI, and segment_files takes paths of this machine. For URIs call "
            "lungfield.cluster.segment_stores([INPUT, ...], OUTPUT), or the command lungfield segment INPUT "
            "-o OUTPUT."
        )
    return Path(place).expanduser()


def preloads(bundle: Bundle, backend: str) -> list[str]:
    """What the fork server imports for a bundle, beside what it always does."""
    preload = ["lungfield.batch.lean"] if bundle.is_shipped else []
    runs_torch = backend == "torch" or not importlib.util.find_spec("openvino")
    if runs_torch and "timm" in bundle.metadata.get("required_packages_version", {}):
        preload.append("timm")
    return preload


@contextlib.contextmanager
def forkserver(bundle: Bundle, options: Options) -> Iterator[Callable[[], Any]]:
    """What starts the fork server, and gives the context of its processes; it is ended where the run fails.

    A new run starts it at once, so that it imports while the files are looked for. One that is resumed may
    have nothing to do.
    """
    start = functools.partial(start_forkserver, *preloads(bundle, options.backend))
    try:
        if not options.resume:
            start()
        yield start
    except BaseException:
        stop_forkserver()
        raise
