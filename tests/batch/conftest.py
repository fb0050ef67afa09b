"""A bundle without training that takes what is dark for lung, and inputs of all kinds."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from grey_bundle import write_dark_is_lung
from lungfield.batch import Options, segment_files


@pytest.fixture(scope="session")
def dark_is_lung(tmp_path_factory):
    """The folder of a bundle whose 'network' gives lung where a pixel is darker than 0.3."""
    return write_dark_is_lung(tmp_path_factory.mktemp("bundles"), transform="misbehaving.Misbehaved")


@pytest.fixture(scope="session")
def leaning(dark_is_lung, tmp_path_factory):
    """A bundle that calls lung what has a dark pixel 8 columns to its left: mirrored, it gives another."""
    root = tmp_path_factory.mktemp("bundles") / "leaning"
    shutil.copytree(dark_is_lung, root)
    config = root / "configs" / "inference.yaml"
    text = config.read_text().replace("kernel_size: 1}", "kernel_size: [1, 17], padding: [0, 8]}")
    assert "17" in text
    config.write_text(text)
    kernel = torch.zeros(1, 1, 1, 17)
    kernel[..., 0] = -100.0
    torch.save({"weight": kernel, "bias": torch.tensor([30.0])}, root / "models" / "model.pt")
    return root


@pytest.fixture
def chest():
    """(120, 100) uint8: two dark blocks, the larger on the image's left; and their label map."""
    label_map = np.zeros((120, 100), dtype=np.uint8)
    label_map[20:100, 15:40] = 1
    label_map[30:90, 60:80] = 2
    grain = np.arange(100) % 6  # beside the lungs: a picture of few values would be taken for a mask
    return np.where(label_map > 0, 20, 180 + grain).astype(np.uint8), label_map


@pytest.fixture
def inputs(tmp_path, chest, make_dicom):
    pixels, _ = chest
    folder = tmp_path / "in"
    (folder / "ward").mkdir(parents=True)
    pixels = pixels.astype(np.uint16)
    make_dicom(
        folder / "ward" / "a.dcm", pixels, PixelSpacing=[2, 1], PatientName="Secret^Name", PatientID="ID-77"
    )
    make_dicom(folder / "lateral.dcm", pixels, ViewPosition="LL", PatientName="Secret^Name")
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "a.png")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    return folder


@pytest.fixture
def run(dark_is_lung):
    """Segment a folder into another with that bundle, in one worker by default."""

    def segment(inputs, output, **options):
        return segment_files(
            [inputs],
            output,
            dark_is_lung,
            options=Options(**{"workers": 1, "report": False, "backend": "torch", **options}),
        )

    return segment
