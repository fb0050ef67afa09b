"""The app that MONAI Label loads, with one model per bundle for segmentation and training."""

from __future__ import annotations

from pathlib import Path

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

import lungfield
from lungfield.label.folder import RadiographFolder
from lungfield.label.inference import LungBatchInferTask, LungInferTask
from lungfield.label.server import chosen_bundles
from lungfield.label.training import FineTuneTask
from lungfield.label.weights import WeightStore


class LungFields(MONAILabelApp):
    """Every bundle as a model that segments radiographs and is trained on corrected masks.

    Args:
        app_dir: folder that the server may write to: logs, and weights below `model`.
        studies: a folder of radiographs, or the address of a DICOMweb server.
        conf: `bundles`, comma-separated names or folders, by default all shipped ones with weights;
            `device`, by default `auto`; `viewer_geometry`, see `lungfield.label.dicomweb`.

    Raises:
        BundleError: a bundle is missing or has no weights, or two have the same name.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        chosen = chosen_bundles((conf or {}).get("bundles", ""))
        self.weights = [WeightStore(one, Path(app_dir) / "model" / one.name) for one in chosen]
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="lungfield",
            description="Lung fields on frontal chest radiographs. Research software: not a medical device.",
            version=lungfield.__version__,
        )

    def init_datastore(self) -> Datastore:
        """The datastore for the folder of radiographs or the DICOMweb address."""
        if self.studies.startswith(("http://", "https://")):
            from lungfield.label.dicomweb import make_datastore

            return make_datastore(self, self.studies)
        return RadiographFolder(self.studies)

    def init_infers(self) -> dict[str, InferTask]:
        """A task for each bundle, by its name."""
        device = self.conf.get("device", "auto")
        return {one.bundle.name: LungInferTask(one, device=device) for one in self.weights}

    def init_trainers(self) -> dict[str, TrainTask]:
        """A task for each bundle, by its name."""
        return {one.bundle.name: FineTuneTask(one) for one in self.weights}

    def init_batch_infer(self) -> BatchInferTask:
        """The task for many images."""
        return LungBatchInferTask()

    def init_strategies(self) -> dict[str, Strategy]:
        """The strategies that choose the next radiograph to label."""
        return {"random": Random(), "first": First()}
