"""Data sets for training and evaluation: prepare public and own sets, and read the prepared lists."""

from lungfield.datasets.data_list import load_data_list
from lungfield.datasets.folders import prepare_folders
from lungfield.datasets.layout import SetDescription
from lungfield.datasets.preparation import PreparedSet
from lungfield.datasets.public_sets import prepare_jsrt, prepare_montgomery, prepare_shenzhen
from lungfield.datasets.splits import Split

__all__ = [
    "PreparedSet",
    "SetDescription",
    "Split",
    "load_data_list",
    "prepare_folders",
    "prepare_jsrt",
    "prepare_montgomery",
    "prepare_shenzhen",
]
