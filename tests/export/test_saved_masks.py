from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from lungfield.export import save_label_map_png, save_nifti
from lungfield.mask import read_reference
from lungfield.pose import ALL_POSES, UPRIGHT
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph, Spacing


def of(label_map, **keywords):
    """An upright radiograph of the label map's size."""
    return Radiograph(Path("a.dcm"), np.zeros(label_map.shape, np.float32), **keywords)


def test_png_holds_the_labels(tmp_path, label_map):
    save_label_map_png(label_map, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), label_map)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (37, 53)])
def test_png_of_any_size_and_value(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    save_label_map_png(values.T.copy().T, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.verify()  # the checksums
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), values)


def test_png_as_itk_reads_it(tmp_path, label_map):
    itk = pytest.importorskip("itk")
    save_label_map_png(label_map, tmp_path / "a.png")
    np.testing.assert_array_equal(itk.array_from_image(itk.imread(str(tmp_path / "a.png"))), label_map)


def test_png_is_no_larger_than_pillows(tmp_path):
    rows, columns = np.ogrid[:512, :512]
    lungs = [((rows - 250) / 200) ** 2 + ((columns - column) / 90) ** 2 < 1 for column in (150, 370)]
    Image.fromarray(lungs[0] + 2 * lungs[1].astype(np.uint8)).save(tmp_path / "pillow.png")
    save_label_map_png(lungs[0] + 2 * lungs[1].astype(np.uint8), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 1.5 * (tmp_path / "pillow.png").stat().st_size


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_as_nibabel_reads_it(tmp_path, label_map, name):
    save_nifti(label_map, tmp_path / name, of(label_map, spacing=Spacing(0.2, 0.3, "PixelSpacing")))
    image = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj), label_map.T)
    assert image.get_data_dtype() == np.uint8
    assert image.header.get_zooms() == pytest.approx((0.3, 0.2))
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nibabel.aff2axcodes(image.affine)[:2] == ("L", "P")


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
def test_nifti_as_itk_reads_it(tmp_path, label_map):
    itk = pytest.importorskip("itk")
    save_nifti(label_map, tmp_path / "a.nii", of(label_map, spacing=Spacing(0.2, 0.3, "PixelSpacing")))
    picture = itk.imread(str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(itk.array_from_image(picture), label_map)
    assert tuple(picture.GetSpacing()) == pytest.approx((0.3, 0.2))
    np.testing.assert_allclose(itk.array_from_matrix(picture.GetDirection()), np.eye(2), atol=1e-6)


def test_nifti_without_spacing(tmp_path, label_map):
    save_nifti(label_map, tmp_path / "a.nii", of(label_map))
    header = nibabel.load(tmp_path / "a.nii").header
    assert header.get_zooms() == (1, 1)
    assert header.get_xyzt_units()[0] == "unknown"


def test_the_same_mask_gives_the_same_file(tmp_path, label_map):
    for name in ("a.nii.gz", "b.nii.gz"):
        save_nifti(label_map, tmp_path / name, of(label_map))
    for name in ("a.png", "b.png"):
        save_label_map_png(label_map, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("pose", ALL_POSES, ids=str)
@pytest.mark.parametrize("spacing", [Spacing(0.2, 0.3, "PixelSpacing"), None], ids=["spacing", "none"])
def test_nifti_says_how_it_lies_and_comes_back_upright(tmp_path, label_map, pose, spacing):
    radiograph = of(label_map, pose=pose, spacing=spacing)
    stored = np.ascontiguousarray(pose.stored(label_map))
    save_nifti(stored, tmp_path / "a.nii", radiograph)
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).T, stored)
    # Whatever the radiograph that is compared: where it is not upright, the file says so itself.
    np.testing.assert_array_equal(read_reference(tmp_path / "a.nii", pose), label_map)
    if pose != UPRIGHT:
        np.testing.assert_array_equal(read_reference(tmp_path / "a.nii", UPRIGHT), label_map)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2)])
def test_a_mask_of_nifti_has_affine_shape_and_codes_of_its_radiograph(tmp_path, label_map, axes):
    label_map = np.kron(label_map, np.ones((2, 2), np.uint8))
    rng = np.random.default_rng(0)
    shape = [1, 1, 1]
    shape[axes[0]], shape[axes[1]] = label_map.shape[::-1]
    affine = np.eye(4)
    affine[axes[0], axes[0]], affine[axes[1], axes[1]] = 0.3, 0.2
    affine[:3, 3] = 7, -8, 9
    image = nibabel.Nifti1Image(rng.integers(0, 4000, shape, dtype=np.int16), affine)
    image.set_qform(affine, 1)
    nibabel.save(image, tmp_path / "chest.nii.gz")
    radiograph = read_radiograph(tmp_path / "chest.nii.gz")
    stored = np.ascontiguousarray(radiograph.pose.stored(label_map))
    save_nifti(stored, tmp_path / "mask.nii.gz", radiograph)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert mask.shape == tuple(shape)
    np.testing.assert_allclose(mask.affine, affine)
    assert int(mask.header["qform_code"]) == 1
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj).reshape(stored.T.shape).T, stored)
    np.testing.assert_array_equal(read_reference(tmp_path / "mask.nii.gz", radiograph.pose), label_map)


def kinds_of_nifti(affine):
    """An array of 16 bits as every kind of file that nibabel writes, by suffix."""
    values = np.random.default_rng(0).integers(0, 4000, (80, 96), dtype=np.int16)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_slope_inter(2, -1000)
    yield image, "nii"
    yield nibabel.Nifti1Image(values, affine, nibabel.Nifti1Header(endianness=">")), "nii"
    yield nibabel.Nifti2Image(values, affine), "nii.gz"
    yield nibabel.Nifti1Pair(values, affine), "hdr"
    analyze = nibabel.AnalyzeImage(values, None)
    analyze.header.set_zooms((0.3, 0.2))
    yield analyze, "hdr"


def test_a_mask_of_nifti_takes_geometry_and_no_text_from_its_radiograph(tmp_path):
    """descrip, aux_file and db_name are free text: names and file names of patients stand there."""
    affine = np.array([[0.29, 0.05, 0, 7], [-0.05, 0.19, 0, -8], [0, 0, 1, 9], [0, 0, 0, 1]])
    for number, (image, suffix) in enumerate(kinds_of_nifti(affine)):
        for name in ("descrip", "aux_file", "db_name", "intent_name"):
            if name in image.header:
                image.header[name] = b"Nemo^Nobody"
        image.to_filename(tmp_path / f"chest{number}.{suffix}")
        original = nibabel.load(tmp_path / f"chest{number}.{suffix}")
        radiograph = read_radiograph(tmp_path / f"chest{number}.{suffix}")
        upright = np.zeros(radiograph.shape, np.uint8)
        upright[20:60, 10:30], upright[20:60, 45:70] = 1, 2
        save_nifti(np.ascontiguousarray(radiograph.pose.stored(upright)), tmp_path / "mask.nii", radiograph)
        mask = nibabel.load(tmp_path / "mask.nii")
        assert b"Nobody" not in (tmp_path / "mask.nii").read_bytes()
        np.testing.assert_allclose(mask.affine, original.affine, atol=1e-6)
        assert mask.header.get_zooms() == pytest.approx(original.header.get_zooms())
        for name in ("qform_code", "sform_code", "xyzt_units"):
            assert int(mask.header[name]) == (int(original.header[name]) if name in original.header else 0)
        assert set(np.unique(mask.get_fdata())) == {0, 1, 2}
        np.testing.assert_array_equal(read_reference(tmp_path / "mask.nii", radiograph.pose), upright)
