"""Masks as clients send them, and where masks for viewers lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

import SimpleITK as sitk  # noqa: N813

from lungfield.bundles import find_bundle
from lungfield.errors import DataError, OutputError
from lungfield.label.masks import read_label, save_mask
from lungfield.mask import read_mask
from lungfield.pipeline import Segmentation
from lungfield.records import Spacing
from lungfield.transforms.itk_geometry import default_suffix, geometry_of


@pytest.fixture
def label_map():
    """(7, 5) uint8, the same in none of its flips and turns."""
    label_map = np.zeros((7, 5), dtype=np.uint8)
    label_map[1:4, 0:2] = 1
    label_map[2:6, 3] = 2
    return label_map


def written(path, values, *, volume=True):
    """A file of ITK's with these values (H, W)."""
    sitk.WriteImage(sitk.GetImageFromArray(values[np.newaxis] if volume else values), str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("volume", [True, False])
def test_label_maps_of_viewers_are_read_upright(suffix, volume, label_map, tmp_path):
    path = written(tmp_path / f"a{suffix}", label_map, volume=volume)
    assert np.array_equal(read_label(path, (7, 5)), label_map)


def test_nifti_as_nibabel_writes_it(label_map, tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(label_map.T[np.newaxis, ..., np.newaxis], np.eye(4))
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert np.array_equal(read_label(tmp_path / "a.nii.gz", (7, 5)), label_map)


def test_png_of_one_lung_and_of_both_together(label_map, tmp_path):
    right = np.where(label_map == 1, 1, 0).astype(np.uint8)
    Image.fromarray(right).save(tmp_path / "right.png")
    assert np.array_equal(read_label(tmp_path / "right.png", (7, 5)), right)
    both = np.where(label_map > 0, 255, 0).astype(np.uint8)
    Image.fromarray(both).save(tmp_path / "both.png")
    assert np.array_equal(read_label(tmp_path / "both.png", (7, 5)), both)  # 255: side unknown


def test_names_say_what_values_mean(label_map, tmp_path):
    """3D Slicer numbers segments in the order in which they were made."""
    values = np.choose(label_map, [0, 2, 3]).astype(np.uint8)
    values[0, 0] = 1
    path = written(tmp_path / "a.nii.gz", values)
    names = {1: "heart", 2: "Right lung", 3: "left_lung"}
    assert np.array_equal(read_label(path, (7, 5), names=names), label_map)
    assert set(np.unique(read_label(path, names={1: "heart", 2: "lungs", 3: "Lung"}))) == {0, 255}


@pytest.mark.parametrize(
    ("names", "says"), [(None, "value 6"), ({1: "right lung", 2: "left lung"}, "0, 1 .right lung")]
)
def test_values_without_a_meaning_are_refused(names, says, label_map, tmp_path):
    label_map[6, 4] = 6
    with pytest.raises(DataError, match=says):
        read_label(written(tmp_path / "a.nrrd", label_map), (7, 5), names=names)


def test_masks_of_another_size_or_shape_and_damaged_ones_are_refused(label_map, tmp_path):
    with pytest.raises(DataError, match="5x7 pixels and the radiograph 7x5"):
        read_label(written(tmp_path / "a.nii", label_map), (5, 7))
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([label_map] * 3)), str(tmp_path / "b.nii"))
    with pytest.raises(DataError, match="one plane"):
        read_label(tmp_path / "b.nii")
    Image.fromarray(np.zeros((7, 5, 3), dtype=np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match="several values"):
        read_label(tmp_path / "c.png")
    (tmp_path / "d.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_label(tmp_path / "d.nii.gz")


def test_dicom_seg_is_read(make_dicom, picture, tmp_path):
    lungs = segmented(make_dicom(tmp_path / "a.dcm", picture))
    save_mask(lungs, tmp_path / "seg.dcm")
    assert np.array_equal(read_label(tmp_path / "seg.dcm", (96, 80)), lungs.label_map)


def test_other_structures_do_not_touch_the_lungs(make_dicom, picture, tmp_path):
    """They are written where no lung is, and left out when a map is read."""
    lungs = segmented(make_dicom(tmp_path / "a.dcm", picture))
    heart = np.zeros((96, 80), dtype=bool)
    heart[40:70, 25:50] = True
    lungs = replace(lungs, structures={"heart": heart})
    for name in ("mask.png", "mask.nrrd", "seg.dcm"):
        save_mask(lungs, tmp_path / name)
        assert np.array_equal(read_label(tmp_path / name, (96, 80)), lungs.label_map)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nrrd")))[0]
    assert np.array_equal(values == 3, heart & (lungs.label_map == 0))
    assert len(dcmread(tmp_path / "seg.dcm").SegmentSequence) == 3


def segmented(path):
    """A segmentation of a file, with a made-up label map."""
    from lungfield.radiograph import read_radiograph

    radiograph = read_radiograph(path)
    label_map = np.zeros(radiograph.shape, dtype=np.uint8)
    label_map[20:60, 10:30], label_map[20:60, 45:70] = 1, 2
    return Segmentation(radiograph, label_map, np.zeros((2, 2), np.float32), find_bundle("unet"))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_mask_has_the_place_that_itk_gives_a_dicom_file(suffix, make_dicom, picture, tmp_path):
    """Which for CR and DX is by ImagerPixelSpacing, also where PixelSpacing says otherwise."""
    source = make_dicom(tmp_path / "a.dcm", picture, PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[0.4, 0.5])
    lungs = segmented(source)
    save_mask(lungs, tmp_path / f"mask{suffix}")
    mask, image = sitk.ReadImage(str(tmp_path / f"mask{suffix}")), sitk.ReadImage(str(source))
    assert mask.GetSize() == image.GetSize() == (80, 96, 1)
    assert mask.GetSpacing() == pytest.approx(image.GetSpacing())
    assert mask.GetSpacing()[:2] == pytest.approx((0.5, 0.4))
    assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
    assert mask.GetDirection() == pytest.approx(image.GetDirection())
    assert np.array_equal(sitk.GetArrayFromImage(mask)[0], lungs.label_map)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((80, 1, 96), np.diag([-0.3, 1, -0.2, 1])),  # coronal
        ((80, 96), np.diag([0.3, 0.2, 1, 1])),  # x to the right and y upwards
        ((80, 96, 1, 1), np.diag([0.3, 0.2, 1, 1])),
    ],
)
def test_mask_of_nifti_has_axes_and_place_of_its_file(suffix, shape, affine, picture, tmp_path):
    import nibabel

    source = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(picture.T.astype(np.int16).reshape(shape), affine), source)
    lungs = segmented(source)
    save_mask(lungs, tmp_path / f"mask{suffix}")
    mask, image = sitk.ReadImage(str(tmp_path / f"mask{suffix}")), sitk.ReadImage(str(source))
    axes = image.GetDimension()
    assert mask.GetSize()[:axes] == image.GetSize()
    assert mask.GetSpacing()[:axes] == pytest.approx(image.GetSpacing())
    of_mask = np.reshape(mask.GetDirection(), (mask.GetDimension(),) * 2)[:axes, :axes]
    np.testing.assert_allclose(of_mask, np.reshape(image.GetDirection(), (axes, axes)), atol=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(mask).reshape(96, 80), lungs.label_map)
    assert np.array_equal(read_label(tmp_path / f"mask{suffix}", (96, 80)), lungs.label_map)


def test_mask_of_a_picture_is_flat_unless_a_viewer_wants_a_volume(picture, tmp_path):
    Image.fromarray((picture >> 4).astype(np.uint8)).save(tmp_path / "a.png")
    lungs = segmented(tmp_path / "a.png")
    for suffix, size in ((".png", (80, 96)), (".nii", (80, 96)), (".nrrd", (80, 96, 1))):
        save_mask(lungs, tmp_path / f"mask{suffix}")
        assert sitk.ReadImage(str(tmp_path / f"mask{suffix}")).GetSize() == size
    assert np.array_equal(read_mask(tmp_path / "mask.png"), lungs.label_map)


def test_spacing_of_our_own_where_itk_cannot_read_a_file(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"nothing")
    geometry = geometry_of(tmp_path / "a.dcm", Spacing(0.2, 0.3, source="PixelSpacing"))
    assert (geometry.spacing, geometry.axes) == ((0.3, 0.2, 1.0), 3)
    assert np.array_equal(geometry.affine, np.diag([-0.3, -0.2, 1, 1]))


def test_no_dicom_seg_of_a_picture(picture, tmp_path):
    Image.fromarray((picture >> 4).astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(OutputError):
        save_mask(segmented(tmp_path / "a.png"), tmp_path / "mask.dcm")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.dcm", ".nii.gz"), ("a.nii.gz", ".nii.gz"), ("a.PNG", ".png"), ("1.2.840", ".nii.gz")],
)
def test_default_format(name, suffix, tmp_path):
    assert default_suffix(tmp_path / name) == suffix
