"""Phantoms: synthetic chest radiographs whose lung fields are known exactly."""

from phantoms.dicom import code_item, phantom_dataset, write_dicom
from phantoms.phantom import Phantom, make_phantom
from phantoms.phantom_set import prepare_phantoms

__all__ = [
    "Phantom",
    "code_item",
    "make_phantom",
    "phantom_dataset",
    "prepare_phantoms",
    "write_dicom",
]
