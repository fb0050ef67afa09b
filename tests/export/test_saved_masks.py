import nibabel
import numpy as np
import pytest
from PIL import Image

from lungfield.export import save_label_map_png, save_nifti
from lungfield.records import Spacing


def test_png_holds_the_labels(tmp_path, label_map):
    save_label_map_png(label_map, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), label_map)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_as_nibabel_reads_it(tmp_path, label_map, name):
    save_nifti(label_map, tmp_path / name, Spacing(0.2, 0.3, "PixelSpacing"))
    image = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj), label_map.T)
    assert image.get_data_dtype() == np.uint8
    assert image.header.get_zooms() == pytest.approx((0.3, 0.2))
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nibabel.aff2axcodes(image.affine)[:2] == ("L", "P")


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
def test_nifti_as_itk_reads_it(tmp_path, label_map):
    itk = pytest.importorskip("itk")
    save_nifti(label_map, tmp_path / "a.nii", Spacing(0.2, 0.3, "PixelSpacing"))
    picture = itk.imread(str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(itk.array_from_image(picture), label_map)
    assert tuple(picture.GetSpacing()) == pytest.approx((0.3, 0.2))
    np.testing.assert_allclose(itk.array_from_matrix(picture.GetDirection()), np.eye(2), atol=1e-6)


def test_nifti_without_spacing(tmp_path, label_map):
    save_nifti(label_map, tmp_path / "a.nii", None)
    header = nibabel.load(tmp_path / "a.nii").header
    assert header.get_zooms() == (1, 1)
    assert header.get_xyzt_units()[0] == "unknown"


def test_the_same_mask_gives_the_same_file(tmp_path, label_map):
    for name in ("a.nii.gz", "b.nii.gz"):
        save_nifti(label_map, tmp_path / name, None)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
