"""MONAI Deploy application: radiographs in, the lung fields as DICOM SEG out.

    python docs/deploy/app.py -i sample_data/images -o out -m model.ts

docs/deploy.md says how model.ts is made.
"""

from __future__ import annotations

import json
from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from operators import LungFieldsOperator, RadiographReaderOperator, SegmentationWriterOperator

from lungfield.bundles.weights import require_file

RULES = json.dumps({"selections": [{"name": "radiographs", "conditions": {"Modality": "^(CR|DX)$"}}]})
"""Which series are looked at; lungfield's reader tells which of their images are frontal views of chests."""


class LungFieldsApp(Application):
    """Segments every frontal chest radiograph (CR, DX) in a folder of DICOM files."""

    def compose(self) -> None:
        """Build the operators and join them.

        Raises:
            BundleError: there is no exported bundle where the command line says.
        """
        context = Application.init_app_context(self.argv)
        bundle = require_file(
            context.model_path,
            what="The bundle's TorchScript file",
            advice="docs/deploy.md says how to make it.",
        )
        loader = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="loader"
        )
        selector = DICOMSeriesSelectorOperator(self, rules=RULES, all_matched=True, name="selector")
        reader = RadiographReaderOperator(self, name="reader")
        lungs = LungFieldsOperator(self, app_context=context, bundle_path=bundle, name="lungs")
        writer = SegmentationWriterOperator(self, output_folder=Path(context.output_path), name="writer")
        self.add_flow(loader, selector, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(selector, reader, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(reader, lungs, {("radiographs", "image")})
        self.add_flow(lungs, writer, {("pred", "segmented")})


if __name__ == "__main__":
    LungFieldsApp().run()
