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

#: The key of a client's request with the meaning of a label map's values.
_LABEL_INFO = "label_info"


class RadiographFolder(LocalDatastore):
    """The radiographs in one folder, without its sub-folders.

    MONAI Label stores its list in `datastore_v2.json` there, and labels in `labels/<tag>/`. An image's id is
    its name without the suffix, so two files must not differ in the suffix only.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(
            folder,
            # MONAI Label's own list has no DICOM suffixes. Names are compared case-sensitively.
            extensions=[f"*{suffix}" for name in RADIOGRAPHS for suffix in (name, name.upper())],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Store a mask unchanged, after a check that it can be read and fits its radiograph.

        Raises:
            LungfieldError: the mask cannot be read or has another size.
        """
        image = self.get_image_uri(image_id)
        if image:  # otherwise the base class raises an error
            shape = read_radiograph(Path(image), require_frontal=False).stored_shape
            read_label(Path(label_filename), shape, names=names_of(label_info))
        return str(super().save_label(image_id, label_filename, label_tag, label_info))

    def label_names(self, image_id: str) -> dict[int, str] | None:
        """The names of the values of an image's final mask, or None if the annotator gave none."""
        return names_of(self.get_label_info(image_id, DefaultLabelTag.FINAL))


def names_of(label_info: Mapping[str, Any] | None) -> dict[int, str] | None:
    """The names of a label map's values, as sent by 3D Slicer: `{"label_info": [{"name", "idx"}]}`."""
    entries = (label_info or {}).get(_LABEL_INFO) or []
    return {int(one["idx"]): str(one["name"]) for one in entries if "idx" in one and "name" in one} or None
