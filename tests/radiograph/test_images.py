"""Picture files and NIfTI: upright, with all of their bits, values in [0, 1]."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.pose import UPRIGHT, Pose
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_orientation_brings_a_picture_upright(
    name: str, orientation: int, grey: NDArray[np.uint8], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(grey)
    options = {"lossless": True} if name.endswith("webp") else {}
    if name.endswith("tif"):
        path = tmp_path / name
        tifffile.imwrite(path, grey, photometric="minisblack", extratags=[(274, "H", 1, orientation, True)])
    else:
        path = save(tmp_path / name, picture, exif=exif, **options)
    radiograph = read_radiograph(path)
    # What Pillow shows of the same picture in a format that it does not turn itself.
    shown = np.asarray(ImageOps.exif_transpose(Image.open(save(tmp_path / "b.png", picture, exif=exif))))
    np.testing.assert_allclose(radiograph.pixels, shown / 255, atol=0.1)
    np.testing.assert_allclose(radiograph.pose.stored(radiograph.pixels), grey / 255, atol=0.1)
    assert radiograph.stored_shape == grey.shape
    assert radiograph.pose_is_known is (orientation != 1)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing(orientation: int, grey: NDArray[np.uint8], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    radiograph = read_radiograph(save(tmp_path / "a.png", Image.fromarray(grey), exif=exif))
    assert not radiograph.pose_is_known
    np.testing.assert_allclose(radiograph.pixels, grey / 255)


KINDS_OF_TIFF = (
    "uint16", "uint32", "float16", "float64", "planar RGB16", "RGB16", "jpeg2000", "deflate"
)  # fmt: skip


@pytest.mark.parametrize("orientation", [1, 5, 6, 8])
@pytest.mark.parametrize("kind", KINDS_OF_TIFF)
def test_tiff_of_every_kind(kind: str, orientation: int, picture: NDArray[np.uint16], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = [(274, "H", 1, orientation, True)]
    options: dict[str, Any] = {"photometric": "minisblack", "extratags": tags}
    values: NDArray[Any] = picture
    if kind in ("uint32", "float16", "float64"):
        values = picture.astype(kind) * (1000 if kind == "uint32" else 1)
    elif kind == "planar RGB16":
        values = np.stack([picture] * 3)
        options |= {"photometric": "rgb", "planarconfig": "separate"}
    elif kind == "RGB16":
        values = np.stack([picture] * 3, axis=-1)
        options |= {"photometric": "rgb"}
    elif kind in ("jpeg2000", "deflate"):
        options |= {"compression": kind}
    tifffile.imwrite(path, values, **options)
    radiograph = read_radiograph(path)
    pose = Pose.of_exif(orientation) or UPRIGHT
    np.testing.assert_allclose(radiograph.pose.stored(radiograph.pixels), stretched(picture), atol=2e-3)
    assert radiograph.pose == pose
    assert radiograph.shape == (picture.shape[::-1] if orientation > 4 else picture.shape)


@pytest.mark.parametrize("top", [1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA"])
def test_png_of_16_bits_a_sample_keeps_all_of_them(
    kind: str, top: int, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    values = (picture.astype(np.uint32) * top // 4095).astype(np.uint16)
    opaque = np.full_like(values, 65535)
    samples = {"RGB": [values] * 3, "RGBA": [*[values] * 3, opaque], "LA": [values, opaque]}[kind]
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(np.stack(samples, axis=-1))))
    np.testing.assert_allclose(read_radiograph(path).pixels, stretched(values), atol=2e-3)


def test_a_dark_picture_may_be_tinted_as_much_as_a_bright_one(tmp_path: Path) -> None:
    tinted = np.zeros((90, 80, 3), dtype=np.uint8)
    tinted[..., 0] = np.linspace(20, 100, 80)
    tinted[..., 1:] = tinted[..., :1] - 15
    assert read_radiograph(save(tmp_path / "a.png", Image.fromarray(tinted))).pixels.max() > 0.3


def test_colour_of_16_bits_is_colour_however_few_are_used(
    picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    rgb = np.stack([picture // 4, picture[::-1] // 4, picture // 4], axis=-1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(rgb)))
    with pytest.raises(NotFrontalChestError, match="colour"):
        read_radiograph(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.webp"])
def test_further_formats(name: str, grey: NDArray[np.uint8], tmp_path: Path) -> None:
    options = {"lossless": True} if name == "a.webp" else {}
    radiograph = read_radiograph(save(tmp_path / name, Image.fromarray(grey), **options))
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=1e-6)
    assert radiograph.file_format == {"a.bmp": "BMP", "a.gif": "GIF", "a.webp": "WebP"}[name]


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_jpeg_2000_files(codec: str, picture: NDArray[np.uint16], tmp_path: Path) -> None:
    path = tmp_path / f"a.{codec}"
    content = imagecodecs.jpeg2k_encode(picture, codecformat=codec, level=0, reversible=True)
    path.write_bytes(content)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, stretched(picture), atol=1e-3)
    assert radiograph.file_format == "JPEG 2000"
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(UnreadableError):
        read_radiograph(path)


def test_several_pictures_in_a_file(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    other = Image.fromarray(255 - grey)
    for name in ("a.gif", "a.webp", "a.tif"):
        path = tmp_path / name
        Image.fromarray(grey).save(path, save_all=True, append_images=[other])
        with pytest.raises(NotFrontalChestError, match="2 pictures") as error:
            read_radiograph(path)
        assert error.value.reason is Reason.SEVERAL_FRAMES


def test_a_thumbnail_is_no_second_picture(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(grey, photometric="minisblack")
        file.write(grey[::4, ::4], photometric="minisblack", subfiletype=1)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.tif").pixels, grey / 255, atol=1e-6)


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
