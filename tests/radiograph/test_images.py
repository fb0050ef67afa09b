"""PNG, JPEG, TIFF and NIfTI: pixels where they are stored, values in [0, 1]."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lungfield.errors import NotFrontalChestError, UnreadableError
from lungfield.radiograph import Limits, read_radiograph


@pytest.fixture
def grey(picture: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (picture >> 4).astype(np.uint8)


def stretched(values: NDArray[Any]) -> NDArray[Any]:
    low, high = np.percentile(values, (0.1, 99.9))
    return np.clip((values.astype(float) - low) / (high - low), 0, 1)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(("name", "file_format"), [("a.png", "PNG"), ("a.tif", "TIFF"), ("a.bin", "PNG")])
def test_eight_bits_are_divided_by_255(
    name: str, file_format: str, grey: NDArray[np.uint8], tmp_path: Path
) -> None:
    radiograph = read_radiograph(save(tmp_path / name, Image.fromarray(grey), format=file_format))
    assert radiograph.file_format == file_format
    assert radiograph.pixels.dtype == np.float32
    assert (radiograph.spacing, radiograph.valid, radiograph.header) == (None, None, None)
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=1e-6)


def test_jpeg(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    radiograph = read_radiograph(save(tmp_path / "a.jpg", Image.fromarray(grey), quality=100))
    assert radiograph.file_format == "JPEG"
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=0.03)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_white_is_zero(dtype: Any, grey: NDArray[np.uint8], tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(grey.astype(dtype)))
    photometric_interpretation = struct.pack("<HHI", 262, 3, 1)
    content = path.read_bytes()
    assert content.count(photometric_interpretation + b"\1") == 1
    path.write_bytes(content.replace(photometric_interpretation + b"\1", photometric_interpretation + b"\0"))
    pixels = read_radiograph(path).pixels
    assert pixels[80, 65] > pixels[60, 5] > pixels[10, 10]


def test_exif_orientation_is_ignored(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name, Image.fromarray(grey), exif=exif)
        np.testing.assert_allclose(read_radiograph(path).pixels, grey / 255, atol=0.1)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_of_any_range(name: str, picture: NDArray[np.uint16], tmp_path: Path) -> None:
    for values in (picture, picture * 16, 30_000 + picture // 16):
        radiograph = read_radiograph(save(tmp_path / name, Image.fromarray(values.astype(np.uint16))))
        np.testing.assert_allclose(radiograph.pixels, stretched(values), atol=1e-3)


def test_floating_point_tiff_with_holes(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    values = picture.astype(np.float32) / 7 - 100
    values[5, 6] = np.nan
    radiograph = read_radiograph(save(tmp_path / "a.tif", Image.fromarray(values)))
    assert radiograph.valid is not None
    assert np.argwhere(~radiograph.valid).tolist() == [[5, 6]]
    assert radiograph.pixels[5, 6] == 0
    assert np.isfinite(radiograph.pixels).all()
    assert radiograph.pixels[10, 10] > radiograph.pixels[60, 5] > radiograph.pixels[80, 65]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_other_modes(mode: str, grey: NDArray[np.uint8], tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(grey).convert(mode))
    np.testing.assert_allclose(read_radiograph(path).pixels, grey / 255, atol=1e-6)


def test_one_bit(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(grey > 100))
    np.testing.assert_array_equal(read_radiograph(path).pixels, (grey > 100).astype(np.float32))


def test_a_little_colour_is_accepted(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    rgb = np.stack([grey] * 3, axis=-1)
    rgb[:6, :20] = (255, 0, 0)
    pixels = read_radiograph(save(tmp_path / "a.png", Image.fromarray(rgb))).pixels
    np.testing.assert_allclose(pixels[30:], grey[30:] / 255, atol=1e-6)


def test_a_colour_picture_is_turned_down(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    rgb = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    with pytest.raises(NotFrontalChestError, match="colour"):
        read_radiograph(save(tmp_path / "a.png", Image.fromarray(rgb)))


def test_a_tiff_of_two_pages_is_turned_down(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    page = Image.fromarray(grey)
    with pytest.raises(NotFrontalChestError, match="pages"):
        read_radiograph(save(tmp_path / "a.tif", page, save_all=True, append_images=[page]))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.image"])
@pytest.mark.parametrize("shape", [(80, 96), (80, 96, 1), (1, 80, 96), (80, 96, 1, 1)])
def test_nifti_is_turned_upright(
    name: str, shape: tuple[int, ...], picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    image = nibabel.Nifti1Image(picture.T.reshape(shape), np.diag([-1.0, -1.0, 1.0, 1.0]))
    path = tmp_path / name
    path.write_bytes(gzip.compress(image.to_bytes()) if name.endswith("gz") else image.to_bytes())
    radiograph = read_radiograph(path)
    assert (radiograph.file_format, radiograph.spacing) == ("NIfTI", None)
    np.testing.assert_allclose(radiograph.pixels, stretched(picture), atol=1e-3)


def test_nifti_spacing_is_row_then_column(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    image = nibabel.Nifti2Image(picture.T, np.diag([0.2, 0.3, 1, 1]))
    nibabel.save(image, path)
    spacing = read_radiograph(path).spacing
    assert spacing is not None
    assert (spacing.row_mm, spacing.column_mm) == pytest.approx((0.3, 0.2))
    assert spacing.source == "NIfTI header"


def test_nifti_scaling_is_applied(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(picture.T, np.eye(4))
    image.header.set_slope_inter(-2, 7)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    path = tmp_path / "a.nii"
    stored = nibabel.load(path).get_fdata().T
    np.testing.assert_allclose(read_radiograph(path).pixels, stretched(stored), atol=1e-3)


def test_nifti_agrees_with_itk(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    png = save(tmp_path / "a.png", Image.fromarray(grey))
    itk.imwrite(itk.imread(str(png)), str(tmp_path / "a.nii.gz"))
    pixels = read_radiograph(tmp_path / "a.nii.gz").pixels
    np.testing.assert_array_equal(pixels, read_radiograph(png).pixels)


def test_nifti_volumes_are_turned_down(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.stack([picture] * 3, axis=-1), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(NotFrontalChestError, match="not one plane"):
        read_radiograph(tmp_path / "a.nii")


def test_nifti_bomb(tmp_path: Path) -> None:
    header = nibabel.Nifti1Image(np.zeros((100, 100), np.uint8), np.eye(4)).to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header + bytes(20_000_000)))
    with pytest.raises(UnreadableError, match="decompression"):
        read_radiograph(path, limits=Limits(max_inflated_bytes=1_000_000))
