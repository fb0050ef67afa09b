"""A bundle that takes what is dark for lung, an S3 server on the loopback, results without their times."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from grey_bundle import write_dark_is_lung
from lungfield.batch import Options, segment_files
from lungfield.batch.processes import stop_forkserver
from lungfield.cluster import ClusterOptions, segment_stores


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return write_dark_is_lung(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def chest():
    """(120, 100) uint8: two dark blocks, the larger on the image's left."""
    pixels = np.full((120, 100), 180, dtype=np.uint8)
    pixels[20:100, 15:40] = 20
    pixels[30:90, 60:80] = 20
    return pixels + np.arange(100, dtype=np.uint8) % 16  # else it would be a mask


@pytest.fixture
def inputs(tmp_path, chest, make_dicom):
    """Radiographs of all kinds, names that collide, and what is no input."""
    folder = tmp_path / "in"
    (folder / "ward").mkdir(parents=True)
    pixels = chest.astype(np.uint16)
    make_dicom(folder / "ward" / "a.dcm", pixels, PatientName="Secret^Name", SOPInstanceUID="1.2.3")
    make_dicom(folder / "ward" / "copy.dcm", pixels, SOPInstanceUID="1.2.3")
    make_dicom(folder / "1.2.840.1", pixels, PatientName="Secret^Name")
    make_dicom(folder / "lateral.dcm", pixels, ViewPosition="LL")
    for name in ("a.png", "a.jpg", "ward/A.png"):
        Image.fromarray(chest).save(folder / name)
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    (folder / "notes.doc").write_text("text")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def s3():
    """A client of an S3 server on the loopback, which this environment's processes find by themselves."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = server.get_host_and_port()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    yield boto3.client("s3")
    server.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def bucket(s3, request):
    """The name of a new bucket."""
    name = "b" + "".join(one for one in request.node.name.lower() if one.isalnum())[:50]
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def upload(s3):
    def upload(folder, bucket, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    return upload


@pytest.fixture
def download(s3):
    def download(bucket, prefix, folder):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for one in page.get("Contents", ()):
                path = folder / one["Key"].removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())
        return folder

    return download


@pytest.fixture(scope="package")
def _workers_of_this_environment(s3):
    """Start a fork server that has the S3 server in its environment, and one time for all results."""
    stop_forkserver()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        yield
    stop_forkserver()


@pytest.fixture
def how(_workers_of_this_environment):
    """Options of a run, as few as there may be."""

    def how(**options):
        return Options(**{"workers": 1, "report": False, "backend": "torch", "device": "cpu", **options})

    return how


@pytest.fixture
def in_shards(bundle, how):
    """Segment in shards."""

    def segment(inputs, output, cluster=None, progress=None, **options):
        inputs = [str(one) for one in (inputs if isinstance(inputs, list) else [inputs])]
        return segment_stores(
            inputs,
            str(output),
            bundle,
            options=how(**options),
            cluster=cluster or ClusterOptions(),
            progress=progress,
        )

    return segment


@pytest.fixture
def as_ever(bundle, how):
    """Segment by the engine that knows paths of this machine alone."""

    def segment(inputs, output, **options):
        segment_files([inputs], output, bundle, options=how(**options))
        return output

    return segment
