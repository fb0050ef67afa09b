"""Reading what lies in memory: as the same thing in a file is read."""

from io import BytesIO, StringIO

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import dcmread

from lungfield.errors import DataError, NotFrontalChestError, Reason, UnreadableError
from lungfield.radiograph import Limits, read_radiograph
from lungfield.records import Spacing


@pytest.fixture
def eight_bits(picture):
    return (picture >> 4).astype(np.uint8)


@pytest.fixture
def png(tmp_path, eight_bits):
    Image.fromarray(eight_bits).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def same(one, other):
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.pose, one.spacing) == (other.pose, other.spacing)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a,
        lambda a: a[None],
        lambda a: a[..., None],
        lambda a: np.stack([a] * 3, axis=-1),
        lambda a: np.stack([a] * 3),
        lambda a: np.dstack([a, a, a, a // 2]),
        lambda a: torch.from_numpy(a)[None],
        lambda a: torch.from_numpy(a).clone().float().requires_grad_().detach().byte(),
    ],
)
def test_arrays_and_tensors_of_8_bits_count_as_a_picture_does(eight_bits, png, make):
    radiograph = read_radiograph(make(eight_bits))
    same(radiograph, read_radiograph(png))
    assert not radiograph.pose_is_known
    assert not radiograph.polarity_is_known


@pytest.mark.parametrize("kind", [np.uint16, ">u2", np.int32, np.float16, np.float32, np.float64])
def test_other_numbers_count_by_their_range(picture, kind):
    pixels = read_radiograph(picture.astype(kind)).pixels
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert np.allclose(pixels, read_radiograph(picture).pixels, atol=2e-3)  # half precision has 11 bits


def test_a_tensor_that_numpy_does_not_know(picture):
    assert read_radiograph(torch.from_numpy(picture.astype(np.float32)).bfloat16()).shape == picture.shape


def test_what_is_not_finite_is_no_image(picture):
    values = picture.astype(np.float32)
    values[:4] = np.nan
    assert not read_radiograph(values).valid[:4].any()


def test_an_array_is_left_as_it_is(picture):
    before = picture.copy()
    read_radiograph(picture, inverted=True)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WebP"])
def test_images_of_pillow(tmp_path, eight_bits, file_format):
    path = tmp_path / "a"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(eight_bits).save(path, format=file_format, exif=exif)
    with Image.open(path) as image:
        radiograph = read_radiograph(image)
    same(radiograph, read_radiograph(path))
    assert radiograph.path == path
    assert radiograph.pose_is_known


def test_files_that_are_open_and_bytes(png, tmp_path, picture, make_dicom):
    dicom = make_dicom(tmp_path / "a.dcm", picture)
    for path in (png, dicom):
        for packed in (path.read_bytes(), BytesIO(path.read_bytes())):
            same(read_radiograph(packed), read_radiograph(path))
        with path.open("rb") as stream:
            stream.read(17)  # somebody looked at its beginning
            radiograph = read_radiograph(stream)
            assert not stream.closed
        same(radiograph, read_radiograph(path))
        assert radiograph.path == path
    same(read_radiograph(str(dicom)), read_radiograph(dicom))


def test_a_data_set_is_read_as_its_file_is(tmp_path, picture, make_dicom):
    path = make_dicom(
        tmp_path / "a.dcm", picture, PhotometricInterpretation="MONOCHROME1", PatientOrientation=["R", "F"]
    )
    dataset = dcmread(path)
    before = dataset.to_json()
    radiograph = read_radiograph(dataset)
    same(radiograph, read_radiograph(path))
    assert radiograph.header.SOPInstanceUID == dataset.SOPInstanceUID
    assert radiograph.path == path
    assert dataset.to_json() == before
    del dataset.file_meta  # as a service of DICOM hands it over
    same(read_radiograph(dataset), radiograph)


def test_a_data_set_of_another_view_is_turned_down(tmp_path, picture, make_dicom):
    dataset = dcmread(make_dicom(tmp_path / "a.dcm", picture, ViewPosition="LL"))
    with pytest.raises(NotFrontalChestError) as error:
        read_radiograph(dataset)
    assert error.value.reason == Reason.OTHER_VIEW
    assert read_radiograph(dataset, require_frontal=False).shape == picture.shape


def test_what_the_caller_knows(picture):
    radiograph = read_radiograph(picture, spacing_mm=(0.2, 0.1), orientation=("F", "L"), inverted=True)
    assert radiograph.shape == picture.T.shape
    assert np.allclose(radiograph.pixels, 1 - read_radiograph(picture).pixels.T)
    assert radiograph.spacing == Spacing(0.1, 0.2, "given", "unknown")
    assert radiograph.stored_spacing == Spacing(0.2, 0.1, "given", "unknown")
    assert radiograph.pose_is_known
    assert radiograph.polarity_is_known
    assert read_radiograph(picture, spacing_mm=0.15).spacing == Spacing(0.15, 0.15, "given", "unknown")


def test_what_the_caller_knows_of_a_file_that_says_otherwise(tmp_path, picture, make_dicom):
    path = make_dicom(tmp_path / "a.dcm", picture, PatientOrientation=["R", "F"], PixelSpacing=[0.2, 0.1])
    told = read_radiograph(path)
    radiograph = read_radiograph(told, orientation=("F", "L"))
    assert np.array_equal(radiograph.pixels, told.pixels[:, ::-1].T)
    assert (radiograph.spacing.row_mm, radiograph.spacing.column_mm) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing_mm": 0}, "pixel spacing"),
        ({"spacing_mm": (1, 2, 3)}, "pixel spacing"),
        ({"orientation": ("L", "P")}, "PatientOrientation"),
        ({"orientation": "L"}, "PatientOrientation"),
    ],
)
def test_what_is_no_spacing_or_orientation(picture, options, message):
    with pytest.raises(DataError, match=message):
        read_radiograph(picture, **options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (7, "type int is no radiograph"),
        (None, "give a path, an array"),
        (np.zeros((2, 1, 96, 80)), r"list\(batch\)"),
        (np.zeros((96, 80, 2)), "is not one picture"),
        (np.zeros(96), r"\(96,\)"),
        (np.array([["a"]]), "not grey values"),
        (np.zeros((96, 80)), "uniform"),
        (np.ones((8, 8)), "too few"),
        (StringIO("text"), "opened as text"),
        (b"nothing", "neither DICOM"),
        (b"", "empty"),
    ],
)
def test_what_is_no_radiograph(source, message):
    with pytest.raises(UnreadableError, match=message):
        read_radiograph(source)


def test_masks_and_several_pictures_are_turned_down(picture):
    with pytest.raises(NotFrontalChestError) as error:
        read_radiograph(picture > 1000)
    assert error.value.reason == Reason.LABEL_MAP
    buffer = BytesIO()
    pages = [Image.fromarray((picture >> shift).astype(np.uint8)) for shift in (4, 5)]
    pages[0].save(buffer, format="TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(NotFrontalChestError, match="2 pictures"):
        read_radiograph(Image.open(buffer))


def test_limits_hold(png, picture):
    for source in (png.read_bytes(), png.open("rb")):
        with pytest.raises(UnreadableError, match="bytes are more than"):
            read_radiograph(source, limits=Limits(max_file_bytes=10))
    for source in (picture, Image.open(png)):
        with pytest.raises(UnreadableError, match="more than the limit"):
            read_radiograph(source, limits=Limits(max_pixels=10))
