"""Objects and peers for the tests of the node."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from orthanc import free_port
from soaking.dcmtk import MISSING
from soaking.node_process import NodeProcess

SAMPLES = Path(__file__).parents[2] / "sample_data" / "images"


needs_dcmtk = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def radiograph(folder, number=0, *, sample="03_cr_monochrome1_implicit.dcm", **changes):
    """A copy of a sample radiograph under identifiers of its own."""
    dataset = pydicom.dcmread(SAMPLES / sample)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    path = Path(folder) / f"{number:05}.dcm"
    dataset.save_as(path)
    return path


def with_limits(settings, **limits):
    return replace(settings, limits=replace(settings.limits, **limits))


QUICK = {"first_retry_s": 0.5, "longest_retry_s": 2, "commitment": "never"}


@contextlib.contextmanager
def running_node(folder, *, archive=None, options=(), port=None, **settings):
    """A node that sends to Orthanc, with one worker."""
    folder.mkdir(exist_ok=True)
    config = folder / "node.yaml"
    send_to = [] if archive is None else [{"address": f"ORTHANC@127.0.0.1:{archive.dicom_port}", **QUICK}]
    values = {"http": "", "workers": 1, "backend": "torch", "send_to": send_to, **settings}
    config.write_text(json.dumps(values))
    node = NodeProcess(folder / "state", port or free_port(), ["--config", str(config), *options])
    node.start()
    try:
        yield node
    finally:
        node.kill()
