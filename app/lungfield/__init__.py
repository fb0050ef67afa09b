"""Segmentation of the lung fields on frontal chest radiographs: masks, measurements and metrics from DICOM.

    import lungfield

    lungs = lungfield.Segmenter()("chest.dcm")
    print(lungs.measurements.total.area_mm2)
    lungs.save_mask("chest.png")

Research software: not a medical device, and not for diagnosis or treatment.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lungfield.batch import segment_files as segment_files
    from lungfield.errors import LungfieldError as LungfieldError
    from lungfield.pipeline import Segmenter as Segmenter
    from lungfield.radiograph import read_radiograph as read_radiograph
    from lungfield.records import Radiograph as Radiograph
    from lungfield.segmentation import Segmentation as Segmentation

    __version__: str

# Where each public name lives; imported on first use, so that `import lungfield` does not wait for torch.
_PUBLIC = {
    "Segmentation": "lungfield.segmentation",
    "Segmenter": "lungfield.pipeline",
    "segment_files": "lungfield.batch",
    "read_radiograph": "lungfield.radiograph",
    "Radiograph": "lungfield.records",
    "LungfieldError": "lungfield.errors",
}

__all__ = [*_PUBLIC, "__version__"]


def _name_unknown_user() -> None:
    """Set USER if the system has no name for the user, as in a container with an arbitrary user ID.

    torch needs a user name when MONAI is imported, and its error message names neither cause nor remedy.
    """
    if os.name != "posix" or any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        return
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"uid{os.getuid()}"


_name_unknown_user()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lungfield")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lungfield' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
