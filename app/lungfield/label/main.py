"""The app that MONAI Label loads: one model a bundle, to segment with and to train."""

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
    """Every bundle as a model that segments the lungs and learns from corrected masks.

    Args:
        app_dir: folder that the server may write to: logs, and weights below `model`.
        studies: a folder of radiographs, or the address of a DICOMweb server.
        conf: `bundles`, names or folders with commas between them, by default all shipped ones that have
            weights; `device`, by default `auto`; `viewer_geometry`, see `lungfield.label.dicomweb`.

    Raises:
        BundleError: a bundle is missing or has no weights, or two have one name.
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
        """The folder of radiographs, or the archive behind a DICOMweb address."""
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
        """Segmenting many."""
        return LungBatchInferTask()

    def init_strategies(self) -> dict[str, Strategy]:
        """How the next radiograph to label is chosen."""
        return {"random": Random(), "first": First()}
