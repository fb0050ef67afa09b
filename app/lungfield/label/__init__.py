"""A MONAI Label server with the bundles: segment radiographs, correct the masks, train on the corrections.

`lungfield.label.main` is the app that MONAI Label loads. Importing this package needs no MONAI Label; it only
makes MONAI Label 0.8 work with pydicom 3.
"""

import importlib.util
import sys
from types import ModuleType

from pydicom.uid import SegmentationStorage

_REMOVED = "pydicom._storage_sopclass_uids"


def _let_pydicom_seg_import() -> None:
    """Create the private pydicom module from which pydicom-seg imports an identifier.

    MONAI Label imports pydicom-seg, whose last release (0.4.1) was made for pydicom 2; pydicom 3 has the
    identifier in `pydicom.uid` only. An existing module is not changed.
    """
    if importlib.util.find_spec(_REMOVED) is None:
        stand_in = ModuleType(_REMOVED)
        stand_in.SegmentationStorage = SegmentationStorage  # type: ignore[attr-defined]
        # A module without a spec would make the next search for it fail.
        stand_in.__spec__ = importlib.util.spec_from_loader(_REMOVED, loader=None)
        sys.modules[_REMOVED] = stand_in


# Called here, because the server imports this package before MONAI Label imports pydicom-seg.
_let_pydicom_seg_import()
