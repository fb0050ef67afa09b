import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, generate_uid

from lungfield.errors import DataError
from lungfield.mask import read_mask, read_reference
from lungfield.mask.reading import referenced_sop_instance_uids
from lungfield.pose import UPRIGHT, Pose


@pytest.fixture
def labels():
    """(7, 9) with both lungs, like none of its own flips and turns."""
    values = np.zeros((7, 9), dtype=np.uint8)
    values[1:6, 1:3], values[2:4, 5:8] = 1, 2
    return values


@pytest.fixture
def both(labels):
    return np.where(labels > 0, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.gif"])
def test_labels_are_kept(tmp_path, labels, name):
    Image.fromarray(labels).save(tmp_path / name)
    found = read_mask(tmp_path / name)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.gif", "a.bmp"])
@pytest.mark.parametrize("level", [1, 200, 255])
def test_two_levels_tell_no_side(tmp_path, labels, both, name, level):
    Image.fromarray(np.where(labels > 0, level, 0).astype(np.uint8)).save(tmp_path / name)
    np.testing.assert_array_equal(read_mask(tmp_path / name), both)


@pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "LA", "I;16"])
def test_modes(tmp_path, both, mode):
    image = Image.fromarray(both)
    image = Image.fromarray(both.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), both)


def test_palette_is_read_by_colour(tmp_path, both):
    image = Image.fromarray((both == 0).astype(np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white: the lung
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), both)


def test_jpeg_noise_is_not_lung(tmp_path):
    mask = np.zeros((64, 48), dtype=np.uint8)
    mask[8:40, 8:24] = 255
    Image.fromarray(mask).save(tmp_path / "a.jpg", quality=80)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.jpg"), mask)
    Image.fromarray(np.full((64, 48), 3, dtype=np.uint8)).save(tmp_path / "empty.jpg")
    assert not read_mask(tmp_path / "empty.jpg").any()


def test_empty_mask(tmp_path):
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.zeros((4, 6)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("extra", [0, 1])
def test_nifti_is_transposed(tmp_path, labels, name, extra):
    values = labels.T.astype(np.float32)[(..., *[None] * extra)]
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name)
    np.testing.assert_array_equal(read_mask(tmp_path / name), labels)


def write_seg(path, masks, codes, titles):
    """A SEG of (H, W, segments) masks with highdicom, independent of lungfield's own writer."""
    source = Dataset()
    source.SOPClassUID = ComputedRadiographyImageStorage
    source.Modality = "CR"
    source.Rows, source.Columns = masks.shape[:2]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(source, keyword, generate_uid())
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(source, keyword, "")
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(source, keyword, "")
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=title,
            segmented_property_category=highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=highdicom.sr.CodedConcept(code, "SCT", "a structure"),
            algorithm_type="MANUAL",
        )
        for number, (code, title) in enumerate(zip(codes, titles, strict=True), start=1)
    ]
    highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=masks[np.newaxis],
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)
    return path


@pytest.mark.parametrize(
    ("codes", "titles"),
    [
        # The left lung is the first segment, so that numbers alone would swap the sides.
        (("44029006", "3341006", "80891009"), ("a", "b", "heart")),
        (("39607008", "39607008", "80891009"), ("Left", "Right", "Heart")),
        (("99999", "99999", "99999"), ("left lung", "Right Lung", "Heart, left side")),
    ],
)
def test_segments_by_code_or_by_label(tmp_path, labels, codes, titles):
    masks = np.stack([labels == 2, labels == 1, np.roll(labels, 1, axis=0) == 2], axis=-1)
    masks[..., 2] &= labels == 0
    path = write_seg(tmp_path / "a.dcm", masks, codes, titles)
    np.testing.assert_array_equal(read_mask(path), labels)


def test_a_segment_of_both_lungs_tells_no_side(tmp_path, labels, both):
    path = write_seg(tmp_path / "a.dcm", (labels > 0)[..., np.newaxis], ["39607008"], ["Lungs"])
    np.testing.assert_array_equal(read_mask(path), both)


def test_a_single_segment_is_shared_by_all_frames(tmp_path, labels):
    path = write_seg(tmp_path / "a.dcm", (labels == 2)[..., np.newaxis], ["44029006"], ["x"])
    np.testing.assert_array_equal(read_mask(path), np.where(labels == 2, 2, 0))


def test_seg_without_a_lung(tmp_path, labels):
    path = write_seg(tmp_path / "a.dcm", (labels == 2)[..., np.newaxis], ["80891009"], ["Heart"])
    with pytest.raises(DataError, match="none of its segments is a lung"):
        read_mask(path)


def test_damaged_and_foreign_dicom(tmp_path, labels):
    path = write_seg(tmp_path / "a.dcm", (labels == 2)[..., np.newaxis], ["44029006"], ["x"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(DataError, match="cannot be read as DICOM SEG"):
        read_mask(path)
    path.write_bytes(whole.replace(b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.66.5"))
    with pytest.raises(DataError, match="no segmentation"):
        read_mask(path)


def test_a_picture_is_not_a_mask(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a picture and not a mask"):
        read_mask(tmp_path / "a.png")


def test_what_is_no_mask_at_all(tmp_path, labels):
    cases = {"missing.png": "the mask file does not exist"}
    (tmp_path / "text.png").write_text("not a picture")
    cases["text.png"] = "cannot be read as a mask"
    (tmp_path / "broken.nii").write_bytes(b"short")
    cases["broken.nii"] = "cannot be read as NIfTI"
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / "volume.nii")
    cases["volume.nii"] = "two dimensions"
    nibabel.save(nibabel.Nifti1Image(np.full((3, 4), np.nan, np.float32), np.eye(4)), tmp_path / "nan.nii")
    cases["nan.nii"] = "no finite numbers"
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    cases["red.png"] = "colour picture"
    frames = [Image.fromarray(labels * factor) for factor in (40, 90)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    cases["film.gif"] = "several frames"
    for name, message in cases.items():
        with pytest.raises(DataError, match=message) as raised:
            read_mask(tmp_path / name)
        assert name in str(raised.value)


def test_a_truncated_picture(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8) * 255).save(
        tmp_path / "a.png"
    )
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as a mask"):
        read_mask(tmp_path / "a.png")


@pytest.fixture
def seg(tmp_path, labels):
    """A SEG of one radiograph, as a data set to change and its source's identifier."""
    path = write_seg(tmp_path / "a.dcm", (labels == 2)[..., np.newaxis], ["44029006"], ["x"])
    dataset = pydicom.dcmread(path)
    return path, dataset, dataset.SourceImageSequence[0].ReferencedSOPInstanceUID


def test_the_images_that_a_seg_refers_to(seg):
    path, dataset, uid = seg
    assert referenced_sop_instance_uids(path) == {uid}
    second = pydicom.Dataset()
    second.ReferencedSOPClassUID, second.ReferencedSOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence.append(second)
    dataset.save_as(path)
    assert referenced_sop_instance_uids(path) == {uid, "1.2.3"}


@pytest.mark.parametrize("shared", [False, True])
def test_a_seg_that_refers_to_images_by_its_frames_alone(seg, shared):
    path, dataset, uid = seg
    del dataset.ReferencedSeriesSequence, dataset.SourceImageSequence
    if shared:
        frame = dataset.PerFrameFunctionalGroupsSequence[0]
        dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence = frame.DerivationImageSequence
        del frame.DerivationImageSequence
    dataset.save_as(path)
    assert referenced_sop_instance_uids(path) == {uid}
    for groups in (dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence):
        groups[0].pop("DerivationImageSequence", None)
    dataset.save_as(path)
    assert referenced_sop_instance_uids(path) == set()


def test_references_need_no_pixels(seg):
    path, dataset, uid = seg
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(dataset.PixelData)])
    assert referenced_sop_instance_uids(path) == {uid}


def test_references_of_what_is_no_seg(seg, tmp_path):
    path, dataset, _ = seg
    (tmp_path / "text.dcm").write_text("not DICOM")
    for missing in (tmp_path / "text.dcm", tmp_path / "none.dcm"):
        with pytest.raises(DataError, match="cannot be read as DICOM SEG"):
            referenced_sop_instance_uids(missing)
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.save_as(path)
    with pytest.raises(DataError, match="no segmentation"):
        referenced_sop_instance_uids(path)


# Masks that say how they lie, and masks in other clothes ---------------------------------------------------


def lungs_and_labels():
    labels = np.zeros((40, 30), dtype=np.uint8)
    labels[5:30, 4:12] = 1
    labels[8:33, 18:25] = 2
    return labels


def test_a_reference_is_brought_upright_by_the_radiographs_pose_unless_it_says_its_own(tmp_path):
    labels = lungs_and_labels()
    pose = Pose.of_directions("F", "R")
    Image.fromarray(np.ascontiguousarray(pose.stored(labels))).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_reference(tmp_path / "a.png", pose), labels)
    own = Pose.of_directions("R", "H")
    stored = np.ascontiguousarray(own.stored(labels))
    nibabel.save(nibabel.Nifti1Image(stored.T, np.diag([0.2, 0.2, 1, 1])), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_reference(tmp_path / "a.nii.gz", pose), labels)
    coronal = np.ascontiguousarray(labels.T)[:, None, ::-1]
    nibabel.save(nibabel.Nifti1Image(coronal, np.diag([-0.2, 1, 0.2, 1])), tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(read_reference(tmp_path / "b.nii.gz", UPRIGHT), labels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_masks_lie_as_they_are_stored(tmp_path, orientation):
    labels = lungs_and_labels()
    pose = Pose.of_exif(orientation) or UPRIGHT
    stored = np.ascontiguousarray(pose.stored(labels))
    tifffile.imwrite(tmp_path / "a.tif", stored, extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), stored)
    np.testing.assert_array_equal(read_reference(tmp_path / "a.tif", UPRIGHT), labels)


def test_a_palette_of_one_class_is_a_mask(tmp_path):
    lung = (lungs_and_labels() > 0).astype(np.uint8)
    picture = Image.fromarray(lung, "P")
    picture.putpalette([0, 0, 0, 200, 30, 30])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), lung * 255)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "b.png"), lung * 255)


def test_the_negative_of_a_mask_is_turned_down(tmp_path):
    Image.fromarray(np.where(lungs_and_labels() > 0, 0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="negative"):
        read_mask(tmp_path / "a.png")


def test_further_labels_are_named(tmp_path):
    labels = lungs_and_labels()
    labels[20:30, 12:18] = 3
    Image.fromarray(labels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="label 3"):
        read_mask(tmp_path / "a.png")


def test_further_labels_of_small_structures_are_named(tmp_path):
    """However few pixels they have: a threshold would take one structure for another."""
    labels = lungs_and_labels() * np.uint8(15)
    labels[0, :3] = 7
    Image.fromarray(labels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="labels 7, 15, 30"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("level", [3, 8, 30])
def test_two_small_levels_are_a_mask(tmp_path, level):
    lung = lungs_and_labels() > 0
    Image.fromarray(lung * np.uint8(level)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), lung * 255)


def test_lungs_in_two_greys_are_named(tmp_path):
    values = np.array([0, 128, 255], np.uint8)[lungs_and_labels()]
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="holds 0, 128, 255"):
        read_mask(tmp_path / "a.png")


def test_values_below_0_are_named(tmp_path):
    values = lungs_and_labels().astype(np.int16) - 1
    nibabel.save(nibabel.Nifti1Image(values.T, None), tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"values below 0 \(down to -1"):
        read_mask(tmp_path / "a.nii")


@pytest.mark.parametrize(("index", "colour"), [(1, (200, 30, 30)), (15, (224, 224, 192)), (3, (255,) * 3)])
def test_one_class_of_a_larger_palette(tmp_path, index, colour):
    lung = lungs_and_labels() > 0
    picture = Image.fromarray(lung * np.uint8(index), "P")
    picture.putpalette([0, 0, 0] * index + [*colour])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), lung * 255)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_tiff_masks_where_white_is_zero(tmp_path, dtype):
    """As fax compression has it, and many scanners."""
    lung = lungs_and_labels() > 0
    stored = ~lung if dtype is bool else np.where(lung, 0, np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), lung * 255)


def test_a_tiff_of_two_masks_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([lungs_and_labels()] * 2), photometric="minisblack")
    with pytest.raises(DataError, match="several frames"):
        read_mask(tmp_path / "a.tif")


def test_damaged_exif_leaves_a_mask_as_it_is(tmp_path):
    Image.fromarray(lungs_and_labels()).save(tmp_path / "a.png", exif=b"Exif\0\0nothing")
    np.testing.assert_array_equal(read_reference(tmp_path / "a.png", UPRIGHT), lungs_and_labels())


@pytest.mark.parametrize("name", ["a.hdr", "a.hdr.gz"])
def test_a_pair_of_nifti_files_is_a_mask(tmp_path, name):
    labels = lungs_and_labels()
    nibabel.Nifti1Pair(labels.T, np.diag([0.2, 0.2, 1, 1])).to_filename(tmp_path / name)
    np.testing.assert_array_equal(read_mask(tmp_path / name), labels)
    np.testing.assert_array_equal(read_reference(tmp_path / name, UPRIGHT), labels[::-1, ::-1])
