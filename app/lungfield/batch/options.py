"""How a batch is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from lungfield.batch.outputs import DEFAULT_FORMATS, check_formats, check_structures
from lungfield.errors import DataError
from lungfield.labels import ONLY_LUNGS

VIEWS = ("frontal", "any")
"""What `Options.views` knows."""


@dataclass(frozen=True)
class Options:
    """How a batch is run. A single text will do in the place of a tuple, and of a path.

    Attributes:
        formats: what to write of each radiograph, by the names of `FORMATS`.
        references: folder of reference masks, matched by SOP Instance UID or by name.
        structures: what masks and DICOM SEG hold, of 'lungs' (always there), 'heart' and 'clavicles'. Those
            beside the lungs also get masks of their own, which hold each whole.
        viewer_geometry: place DICOM SEG objects in an invented plane, for viewers that insist on one.
        check_mirrored: also segment every mirrored radiograph, as a second opinion for the quality flags.
            Twice the work of the network.
        views: 'frontal' skips what a header says to be another view or body part; 'any' does not.
            Objects that are no radiographs are skipped either way.
        include: globs of the files to segment; none for all. A glob is compared with the end of a file's path
            below the folder that was named, part by part: '*.dcm', 'PA/*.png'.
        exclude: globs of files, or of folders of files, to leave out.
        resume: go on with a run that was begun in the output folder.
        overwrite: forget a run that was begun there, and begin anew.
        report: write report.html.
        device: 'auto', 'cpu', 'cuda', 'cuda:1', ...
        backend: what runs the network: 'torch', 'openvino' on a CPU, or 'auto' for the faster one, where
            its masks are those of torch.
        workers: processes, each with one file at a time; None for one each core.
        batch_size: radiographs to a batch of the network at most, on CUDA; None for 16.
        time_limit_s: how long a single file may take, in seconds.
        memory_limit_bytes: what a worker may take for its files.
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
        """Take a single text for what it means: a tuple of it, a path."""
        for name in ("formats", "include", "exclude"):
            value: str | Sequence[str] = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.references is not None:
            object.__setattr__(self, "references", Path(self.references))

    def checked(self) -> Options:
        """The same with formats and structures in the order in which they are written.

        Raises:
            DataError: options contradict each other, or have values that there are not.
        """
        if self.resume and self.overwrite:
            raise DataError("A run is either resumed or overwritten: give one of the two.")
        if self.workers is not None and self.workers < 1:
            raise DataError(f"{self.workers} workers cannot do anything; give 1 or more.")
        if self.views not in VIEWS:
            raise DataError(f"'{self.views}' are no views to choose; give one of {', '.join(VIEWS)}.")
        for glob in (*self.include, *self.exclude):
            if not PurePath(glob).name or PurePath(glob).is_absolute():
                raise DataError(
                    f"'{glob}' cannot be included or excluded: give a glob that is compared with the end of "
                    "the paths below the inputs, such as '*.dcm' or 'masks'."
                )
        return replace(
            self, formats=check_formats(self.formats), structures=check_structures(self.structures)
        )
