"""`segment_files`: imports quickly, so that the workers' imports start before those of the run itself."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungfield.batch.interrupts import deferred, interruptible
from lungfield.batch.options import Options
from lungfield.batch.processes import start_forkserver, stop_forkserver
from lungfield.bundles.classes import require_structures
from lungfield.bundles.registry import DEFAULT_BUNDLE, Bundle, find_bundle, require_weights
from lungfield.errors import DataError

if TYPE_CHECKING:
    from lungfield.batch.results import BatchResult
    from lungfield.batch.run import Progress


_MADE_BY_HIGHDICOM = {"sc", "sr"}
"""Formats of which each object is made by highdicom; DICOM SEG has a template, which is kept."""


def segment_files(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> BatchResult:
    """Segment files and folders into `output`; each format gets a sub-folder with the inputs' folder tree.

    It writes the chosen formats, results.csv, results.json and results.parquet with one row per input, and
    report.html. A bad file does not end the batch. If the run is killed, each file's results are complete or
    missing, and `Options.resume` continues it with the same results as an uninterrupted run.

    It starts processes: in a script, call it below `if __name__ == "__main__":`.

    Args:
        inputs: files and folders of this machine, or one of them; for URIs and lists,
            `lungfield.cluster.segment_stores`.
        output: folder of the results; created if missing.
        bundle: name of a shipped bundle, or the folder of any other that you trust.
        options: None for the defaults.
        progress: called with the number of files that have ended, the number of all files, and the row of the
            last one (None at the start).

    Raises:
        BundleError: the bundle does not exist, has no weights or does not segment a chosen structure, or the
            device is not available.
        DataError: an input or the folder of references does not exist or is empty, an option is invalid, or
            the options leave no file; or the output folder holds another run, or one is writing to it.
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
        with importing():
            import lungfield.bundles.backend_choice  # noqa: F401  (imports torch)
            from lungfield.batch.run import run

        return run(paths, folder, found, options, start, progress)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """For large imports: with the garbage collector off, and interrupts at the end.

    The collector takes a fifth of the time, and finds little. Packages swallow interrupts while they are
    imported, or turn them into other errors.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with deferred():
            yield
    finally:
        if collects:
            gc.enable()


def _path(place: str | Path) -> Path:
    if "://" in str(place):  # not shown whole: it may hold a password or a signature
        scheme = str(place).partition("://")[0]
        raise DataError(
            f"{scheme}://... is a URI, and segment_files takes paths of this machine. For URIs call "
            "lungfield.cluster.segment_stores([INPUT, ...], OUTPUT), or the command lungfield segment INPUT "
            "-o OUTPUT."
        )
    return Path(place).expanduser()


def preloads(bundle: Bundle, backend: str, formats: Sequence[str]) -> list[str]:
    """The names of further modules that the fork server imports for a bundle and these formats."""
    preload = ["lungfield.batch.lean"] if bundle.is_shipped else []
    runs_torch = backend == "torch" or not importlib.util.find_spec("openvino")
    if runs_torch and "timm" in bundle.metadata.get("required_packages_version", {}):
        preload.append("timm")
    if not _MADE_BY_HIGHDICOM.isdisjoint(formats):
        preload.append("highdicom")
    return preload


@contextlib.contextmanager
def forkserver(bundle: Bundle, options: Options) -> Iterator[Callable[[], Any]]:
    """A context with a function that starts the fork server and returns the context for its processes.

    A new run starts it at once, so that it imports while the run searches for files. A resumed run may have
    nothing to do, and starts it on demand. If the block raises, the fork server is killed.
    """
    start = functools.partial(start_forkserver, *preloads(bundle, options.backend, options.formats))
    try:
        if not options.resume:
            start()
        yield start
    except BaseException:
        stop_forkserver()
        raise
