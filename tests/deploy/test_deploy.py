"""The example application for MONAI Deploy, run by Deploy itself; every command is taken from the page."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

pytest.importorskip(
    "monai.deploy",
    reason="monai-deploy-app-sdk is not installed; docs/deploy.md says how",
    exc_type=ImportError,
)

from app import LungFieldsApp
from monai.deploy.core import AppContext, Application
from operators import LungFieldsOperator

from lungfield import Segmenter, read_radiograph
from lungfield.bundles import find_bundle, shipped
from lungfield.errors import BundleError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
SAMPLES = sorted((shipped("sample_data") / "images").glob("0[1-7]*.dcm"))


def command(start):
    """The page's command that begins with `start`, in words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    (line,) = [line for line in lines if line.startswith(start)]
    return shlex.split(line)


def call(words, **options):
    """Run a command of the page by this Python, from the repository's root, some options changed."""
    words = [sys.executable, "-W", "ignore", *words[1:]]
    for option, value in options.items():
        words[words.index(option.replace("_", "-")) + 1] = str(value)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The U-Net's bundle as the page exports it."""
    path = tmp_path_factory.mktemp("exported") / "model.ts"
    done = call(command("python -m monai.bundle ckpt_export"), __filepath=path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("unet", device="cpu", backend="torch")


def dice(mask, reference):
    return 2 * (mask & reference).sum() / (mask.sum() + reference.sum())


def test_operator_gives_the_masks_of_lungfield(exported, segmenter):
    """Whatever the polarity, window, shutter or side of the file; and all of one call's radiographs."""
    application = Application([])
    operator = LungFieldsOperator(
        application, app_context=AppContext({"model": str(exported)}), bundle_path=exported, name="lungs"
    )
    radiographs = [read_radiograph(path) for path in SAMPLES]
    emitted = {}
    operator.compute(
        SimpleNamespace(receive=lambda name: {"image": radiographs}[name]),
        SimpleNamespace(emit=lambda value, name: emitted.update({name: value})),
        None,
    )
    assert [one.radiograph for one in emitted["pred"]] == radiographs
    for one in emitted["pred"]:
        reference = segmenter(one.radiograph).label_map
        assert one.label_map.shape == reference.shape
        assert one.label_map.dtype == np.uint8
        for label in (1, 2):
            assert dice(one.label_map == label, reference == label) > 0.999
        assert one.algorithm.version == find_bundle("unet").version


def test_application_writes_a_segmentation_of_every_frontal_radiograph(exported, segmenter, tmp_path):
    (tmp_path / "study").mkdir()
    sources = {}
    series = pydicom.uid.generate_uid()
    for name in ("03_cr_monochrome1_implicit.dcm", "06_cr_window_jpegls.dcm", "08_lateral.dcm", "09_ct.dcm"):
        dataset = pydicom.dcmread(shipped("sample_data") / "images" / name)
        if dataset.Modality == "CR":
            dataset.SeriesInstanceUID = series  # two of one series: Deploy's own reader fails on them
        dataset.PatientID = "secret-4711"
        path = tmp_path / "study" / name
        dataset.save_as(path)
        sources[str(dataset.SOPInstanceUID)] = path
    (tmp_path / "study" / "notes.txt").write_text("not DICOM", encoding="utf-8")

    done = call(command("python docs/deploy/app.py"), _i=tmp_path / "study", _o=tmp_path / "out", _m=exported)

    assert done.returncode == 0, done.stderr
    assert "08_lateral.dcm: ViewCodeSequence says left lateral" in done.stdout + done.stderr
    assert "secret-4711" not in done.stdout + done.stderr
    written = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").glob("*.dcm"))]
    assert len(written) == 2
    for segmentation in written:
        assert segmentation.SOPClassUID == pydicom.uid.SegmentationStorage
        source = sources[segmentation.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert "_cr_" in source.name
        reference = segmenter(source).label_map
        for frame, label in zip(segmentation.pixel_array, (1, 2), strict=True):
            assert dice(frame == 1, reference == label) > 0.999
        algorithm = segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmName == find_bundle("unet").metadata["name"]


def test_application_fails_in_words_where_there_is_nothing_to_segment(exported, tmp_path):
    (tmp_path / "study").mkdir()
    shutil.copy(shipped("sample_data") / "images" / "08_lateral.dcm", tmp_path / "study")
    done = call(command("python docs/deploy/app.py"), _i=tmp_path / "study", _o=tmp_path / "out", _m=exported)
    assert done.returncode == 1
    expected = "DataError: No frontal chest radiograph in the selected series (1 skipped, 0 failed)"
    assert expected in done.stderr
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_application_wants_the_exported_file_not_the_bundle(tmp_path):
    words = ["python", "app.py", "-i", tmp_path, "-m", find_bundle("unet").root]
    application = LungFieldsApp(list(map(str, words)))
    with pytest.raises(BundleError, match=r"TorchScript.* is missing: .*unet\. docs/deploy\.md says how"):
        application.compose()
