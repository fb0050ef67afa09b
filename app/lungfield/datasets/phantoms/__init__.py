"""Phantoms: synthetic chest radiographs whose lung fields are known exactly."""

from lungfield.datasets.phantoms.dicom import add_pixels, code_item, phantom_dataset, write_dicom
from lungfield.datasets.phantoms.phantom import Phantom, make_phantom
from lungfield.datasets.phantoms.phantom_set import prepare_phantoms

__all__ = [
    "Phantom",
    "add_pixels",
    "code_item",
    "make_phantom",
    "phantom_dataset",
    "prepare_phantoms",
    "write_dicom",
]
