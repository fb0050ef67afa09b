"""The data list of a bundle's inference, and the names of its masks."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from lungfield.errors import DataError, LungfieldError, NotFrontalChestError
from lungfield.formats import stem
from lungfield.radiograph import find_files, read_radiograph


def list_radiographs(folder: str | Path, output_dir: str | Path) -> list[dict[str, str]]:
    """The readable frontal radiographs under a folder as MONAI's data list.

    MONAI's engine stops at the first file that it cannot load, so each file is read once before. A file that
    is not a frontal chest radiograph or cannot be read is left out, with a warning in the log. Files below
    `output_dir` are not searched if it lies in the folder.

    Returns:
        A list of `{"image": path}`.

    Raises:
        DataError: the folder is missing or holds no usable radiograph, or two radiographs would get masks of
            the same name.
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
            raise DataError(
                f"The masks of {usable[name]} and {file.path} would have the same name; rename one file."
            )
        usable[name] = str(file.path)
    if not usable:
        counts = ", ".join(f"{unusable[status]} {status}" for status in ("skipped", "failed"))
        raise DataError(
            f"No radiograph to segment in {folder} ({counts}). Give --dataset_dir a "
            "folder of frontal chest radiographs (DICOM, PNG, JPEG, TIFF or NIfTI)."
        )
    return [{"image": path} for path in usable.values()]


def name_to_save(metadata: dict[str, Any], saver: Any) -> dict[str, Any]:  # noqa: ARG001
    """The `output_name_formatter` of `SaveImaged`: the input's name without its suffix, plus '.png'.

    MONAI cuts off what follows the last point; in a file named by a UID, that is a part of the name.
    """
    path = Path(metadata["filename_or_obj"])
    return {"subject": str(path.with_name(f"{stem(path.name)}.png"))}
