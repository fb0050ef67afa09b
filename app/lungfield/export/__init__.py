"""Results as files: DICOM SEG, PNG, NIfTI, pictures and tables, each written whole or not at all."""

from lungfield.export.dicom_seg import save_dicom_seg
from lungfield.export.masks import save_label_map_png, save_nifti
from lungfield.export.overlay import save_overlay
from lungfield.export.tables import json_ready, write_results_csv, write_results_json

__all__ = [
    "json_ready",
    "save_dicom_seg",
    "save_label_map_png",
    "save_nifti",
    "save_overlay",
    "write_results_csv",
    "write_results_json",
]
