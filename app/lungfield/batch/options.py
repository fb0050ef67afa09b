"""The options of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from lungfield.batch.outputs import DEFAULT_FORMATS, check_formats, check_structures
from lungfield.errors import DataError
from lungfield.labels import ONLY_LUNGS

VIEWS = ("frontal", "any")
"""The values of `Options.views`."""


@dataclass(frozen=True)
class Options:
    """The options of a batch. A single string is accepted instead of a tuple or a path.

    Attributes:
        formats: what to write for each radiograph, by the names of `FORMATS`.
        references: folder of reference masks, matched by SOP Instance UID or by name.
        structures: the structures in masks and DICOM SEG: 'lungs' (always included), 'heart', 'clavicles'.
            Structures besides the lungs also get a mask file each, which overlaps do not cut.
        viewer_geometry: give DICOM SEG objects an invented plane, for viewers that require one.
        check_mirrored: also run the network on the mirrored radiograph, for the quality flags. Twice the work
            of the network.
        views: 'frontal' skips images whose header names another view or body part; 'any' does not. Objects
            that are no radiographs are skipped in both cases.
        include: globs of the files to segment; empty for all. A glob is compared with the end of a file's
            path below the input folder, part by part: '*.dcm', 'PA/*.png'.
        exclude: globs of files, or of folders of files, to leave out.
        resume: continue the run in the output folder.
        overwrite: discard the run in the output folder, and start a new one.
        report: write report.html.
        device: 'auto', 'cpu', 'cuda', 'cuda:1', ...
        backend: 'torch', 'openvino' or 'openvino-int8' (on a CPU), or 'auto' for the fastest whose masks
            agree with torch's.
        workers: number of processes, each with one file at a time; None for one per core.
        batch_size: largest number of radiographs in a batch of the network, on CUDA; None for 16.
        time_limit_s: limit of the time for a single file, in seconds.
        memory_limit_bytes: limit of the memory that a worker may allocate for its files.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS
    references: Path | None = None
    structures: tuple[str, ...] = ONLY_LUNGS
    viewer_geometry: bool = False
    check_mirrored: bool = False
    views: str = "frontal"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = False
    report: bool = True
    device: str = "auto"
    backend: str = "auto"
    workers: int | None = None
    batch_size: int | None = None
    time_limit_s: float = 120.0
    memory_limit_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        """Convert single strings to tuples and paths."""
        for name in ("formats", "include", "exclude"):
            value: str | Sequence[str] = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.references is not None:
            object.__setattr__(self, "references", Path(self.references))

    def checked(self) -> Options:
        """Check the options, and sort formats and structures in the order in which they are written.

        Raises:
            DataError: an option has an invalid value, or two options contradict each other.
        """
        if self.resume and self.overwrite:
            raise DataError("A run is either resumed or overwritten: give one of the two.")
        if self.workers is not None and self.workers < 1:
            raise DataError(f"The number of workers is {self.workers}; give 1 or more.")
        if self.views not in VIEWS:
            raise DataError(f"Unknown views '{self.views}'; give one of {', '.join(VIEWS)}.")
        for glob in (*self.include, *self.exclude):
            if not PurePath(glob).name or PurePath(glob).is_absolute():
                raise DataError(
                    f"'{glob}' cannot be included or excluded: give a glob that is compared with the end of "
                    "the paths below the inputs, such as '*.dcm' or 'masks'."
                )
        return replace(
            self, formats=check_formats(self.formats), structures=check_structures(self.structures)
        )
