"""A local folder of radiographs as MONAI Label's datastore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag

from lungfield.formats import RADIOGRAPHS
from lungfield.label.masks import read_label
from lungfield.radiograph import read_radiograph

#: Which of a client's words say what the values of a label map mean.
_LABEL_INFO = "label_info"


class RadiographFolder(LocalDatastore):
    """The radiographs that lie in one folder; what is in its sub-folders is not seen.

    MONAI Label keeps its list in `datastore_v2.json` there, and labels in `labels/<tag>/`. An image is known
    by its name without the suffix, so no two files may differ in that alone.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            folder,
            # The stock list has no DICOM. Names are compared with care for upper and lower case.
            extensions=[f"*{suffix}" for name in RADIOGRAPHS for suffix in (name, name.upper())],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Keep a mask as it came, once it is sure that it can be read and fits its radiograph.

        Raises:
            LungfieldError: it cannot, or does not.
        """
        image = self.get_image_uri(image_id)
        if image:  # else the base class says that there is no such image
            shape = read_radiograph(Path(image), require_frontal=False).stored_shape
            read_label(Path(label_filename), shape, names=names_of(label_info))
        return str(super().save_label(image_id, label_filename, label_tag, label_info))

    def label_names(self, image_id: str) -> dict[int, str] | None:
        """What the values of the final mask of an image mean, or None where its annotator did not say."""
        return names_of(self.get_label_info(image_id, DefaultLabelTag.FINAL))


def names_of(label_info: Mapping[str, Any] | None) -> dict[int, str] | None:
    """What the values of a label map mean, as 3D Slicer tells it: `{"label_info": [{"name", "idx"}]}`."""
    entries = (label_info or {}).get(_LABEL_INFO) or []
    return {int(one["idx"]): str(one["name"]) for one in entries if "idx" in one and "name" in one} or None
