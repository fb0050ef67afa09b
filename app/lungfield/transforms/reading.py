"""The reader for `LoadImaged` in all bundles, so that training and inference use the same pixels."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import ensure_tuple
from numpy.typing import NDArray

from lungfield.mask import read_reference
from lungfield.pose import UPRIGHT
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph

# Every `LoadImaged` logs that MONAI's optional GPU decoder, which is not used here, is not installed.
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")


class RadiographReader(ImageReader):
    """Reads radiographs and their masks for MONAI, with axes in MONAI's order (W, H).

    A radiograph is float32 in [0, 1], upright and with dark lungs, and a mask is uint8 label values; both can
    be DICOM, PNG, JPEG, TIFF or NIfTI. The configs use `Transposed(indices=[0, 2, 1])` after it, so that
    networks get (1, H, W), and invert that before saving. `LungLabelMapd` returns the mask in stored pixels.

    Args:
        kind: 'radiograph', 'mask', or 'label' for a mask that may have unknown pixels
            (`lungfield.labels.UNKNOWN`).
        require_frontal: raise an error for an image whose header names another view or body part.

    Raises:
        ValueError: `kind` is none of these.
    """

    def __init__(self, kind: str = "radiograph", *, require_frontal: bool = True) -> None:
        if kind not in ("radiograph", "mask", "label"):
            raise ValueError(f"kind must be 'radiograph', 'mask' or 'label', not {kind!r}")
        self.kind = kind
        self.require_frontal = require_frontal

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:  # noqa: ARG002
        """Accept every name: the format is detected from the content."""
        return True

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> Path:  # noqa: ARG002
        """Return the path; the file is decoded in `get_data`.

        After an error here, MONAI would try its other readers, whose axes and polarity differ. An error in
        `get_data` reaches the user.
        """
        return Path(ensure_tuple(data)[0])

    def get_data(self, img: Path) -> tuple[NDArray[Any], dict[str, Any]]:
        """Return the (W, H) array of the file and its metadata.

        Raises:
            LungfieldError: the file cannot be read or is no frontal chest radiograph.
        """
        if self.kind != "radiograph":
            mask = read_reference(img, UPRIGHT, partial=self.kind == "label")
            return mask.T, _metadata(mask.shape, row_mm=1.0, column_mm=1.0)
        return as_monai(read_radiograph(img, require_frontal=self.require_frontal))


def as_monai(radiograph: Radiograph) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """A (W, H) view of the pixels, and the metadata that `LoadImaged` would return for the radiograph."""
    spacing = radiograph.spacing
    row_mm, column_mm = (spacing.row_mm, spacing.column_mm) if spacing else (1.0, 1.0)
    metadata = _metadata(radiograph.shape, row_mm=row_mm, column_mm=column_mm)
    metadata["pose"] = np.array(astuple(radiograph.pose))  # an array, as MONAI collates metadata
    metadata["spacing_source"] = spacing.source if spacing else "none"
    return radiograph.pixels.T, metadata


def _metadata(shape: tuple[int, ...], *, row_mm: float, column_mm: float) -> dict[str, Any]:
    rows, columns = shape
    return {
        "affine": np.diag([column_mm, row_mm, 1.0, 1.0]),
        "spatial_shape": np.array([columns, rows]),
        "original_channel_dim": math.nan,  # MONAI's word for 'no channel axis'
    }
