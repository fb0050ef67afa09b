"""Write results as files: DICOM objects, PNG, NIfTI, pictures and tables, each file atomically."""

from lungfield.export import notebook
from lungfield.export.derived import Algorithm, creation_time
from lungfield.export.dicom_seg import save_dicom_seg
from lungfield.export.masks import save_label_map, save_label_map_png, save_nifti
from lungfield.export.overlay import LONGEST_SIDE_PX, Reduced, reduced_picture, render_overlay, save_overlay
from lungfield.export.preview import save_preview
from lungfield.export.secondary_capture import save_secondary_capture, save_skipped_notice
from lungfield.export.structured_report import save_structured_report
from lungfield.export.tables import (
    RESULT_COLUMNS,
    columns_of,
    json_ready,
    write_results_csv,
    write_results_json,
    write_results_parquet,
)

__all__ = [
    "LONGEST_SIDE_PX",
    "RESULT_COLUMNS",
    "Algorithm",
    "Reduced",
    "columns_of",
    "creation_time",
    "json_ready",
    "notebook",
    "reduced_picture",
    "render_overlay",
    "save_dicom_seg",
    "save_label_map",
    "save_label_map_png",
    "save_nifti",
    "save_overlay",
    "save_preview",
    "save_secondary_capture",
    "save_skipped_notice",
    "save_structured_report",
    "write_results_csv",
    "write_results_json",
    "write_results_parquet",
]
