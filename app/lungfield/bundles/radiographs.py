"""The radiographs that a bundle is run on, and the names of their masks."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from lungfield.errors import DataError, LungfieldError, NotFrontalChestError
from lungfield.formats import stem
from lungfield.radiograph import find_files, read_radiograph


def list_radiographs(folder: str | Path, output_dir: str | Path) -> list[dict[str, str]]:
    """The radiographs under a folder as MONAI's data list, without those that would stop the run.

    MONAI's engine dies of the first file that it cannot load, so each is read once beforehand: what is no
    frontal chest radiograph is skipped, and what is unreadable fails, with a warning in the log. Earlier
    results are not looked at, where `output_dir` lies in the folder.

    Raises:
        DataError: the folder is missing, holds nothing that can be segmented, or holds radiographs whose
            masks would have the same name.
    """
    folder, output_dir = Path(folder), Path(output_dir)
    usable: dict[Path, str] = {}
    unusable: Counter[str] = Counter()
    same = folder.resolve() == output_dir.resolve()
    for file in find_files([folder], exclude=[] if same else [output_dir]):
        try:
            read_radiograph(file.path)
        except LungfieldError as error:
            status = "skipped" if isinstance(error, NotFrontalChestError) else "failed"
            unusable[status] += 1
            logging.getLogger("lungfield").warning("%s: %s", status, error)
            continue
        name = file.path.with_name(stem(file.path.name))
        if name in usable:
            raise DataError(f"The masks of {usable[name]} and {file.path} would have one name; rename one.")
        usable[name] = str(file.path)
    if not usable:
        counts = ", ".join(f"{unusable[status]} {status}" for status in ("skipped", "failed"))
        raise DataError(
            f"No radiograph to segment in {folder} ({counts}). Give --dataset_dir a "
            "folder of frontal chest radiographs (DICOM, PNG, JPEG, TIFF or NIfTI)."
        )
    return [{"image": path} for path in usable.values()]


def name_to_save(metadata: dict[str, Any], saver: Any) -> dict[str, Any]:  # noqa: ARG001
    """The name that `SaveImaged(output_name_formatter=...)` builds its own from.

    MONAI cuts off what follows the last point, which of a file named by a UID is part of its name.
    """
    path = Path(metadata["filename_or_obj"])
    return {"subject": str(path.with_name(f"{stem(path.name)}.png"))}
