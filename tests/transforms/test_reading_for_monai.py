import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged, SaveImaged, Transposed
from PIL import Image

from lungfield.errors import NotFrontalChestError, UnreadableError
from lungfield.transforms import RadiographReader


@pytest.fixture
def picture():
    """(90, 70) uint8, brighter to the right and with a dark block at the top left: no symmetry at all."""
    pixels = np.tile(np.linspace(60, 250, 70), (90, 1))
    pixels[:20, :30] = 5
    return pixels.astype(np.uint8)


def load(path, **options):
    return LoadImaged(keys="image", reader=RadiographReader(**options), ensure_channel_first=True)(
        {"image": str(path)}
    )


def upright(path, **options):
    return Transposed(keys="image", indices=[0, 2, 1])(load(path, **options))["image"][0].numpy()


def test_axes_are_monais_and_transposing_makes_it_upright(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png")["image"].shape == (1, 70, 90)
    np.testing.assert_allclose(upright(tmp_path / "a.png"), picture / 255, atol=1e-6)


def test_dicom_polarity_is_turned_once(picture, tmp_path, make_dicom):
    plain = make_dicom(tmp_path / "a.dcm", picture.astype(np.uint16), PhotometricInterpretation="MONOCHROME2")
    inverted = make_dicom(
        tmp_path / "b.dcm", (255 - picture).astype(np.uint16), PhotometricInterpretation="MONOCHROME1"
    )
    one, other = upright(plain), upright(inverted)
    assert one.shape == picture.shape
    assert one[5, 5] < 0.1 < one[5, 60]
    np.testing.assert_allclose(one, other, atol=0.02)


def test_spacing_is_in_the_affine(picture, tmp_path, make_dicom):
    path = make_dicom(tmp_path / "a.dcm", picture.astype(np.uint16), PixelSpacing=[0.2, 0.3])
    np.testing.assert_allclose(load(path)["image"].affine.numpy().diagonal()[:2], [0.3, 0.2])


def test_mask_reader_keeps_label_values(tmp_path):
    mask = np.zeros((40, 30), dtype=np.uint8)
    mask[2:10, 3:6] = 1
    mask[20:30, 22:28] = 2
    Image.fromarray(mask).save(tmp_path / "m.png")
    np.testing.assert_array_equal(upright(tmp_path / "m.png", kind="mask"), mask)


def test_errors_reach_the_user_and_no_other_reader_steps_in(picture, tmp_path, make_dicom):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    with pytest.raises(UnreadableError, match=r"broken\.png"):
        load(tmp_path / "broken.png")
    lateral = make_dicom(tmp_path / "l.dcm", picture.astype(np.uint16), ViewPosition="LL")
    with pytest.raises(NotFrontalChestError):
        load(lateral)
    assert load(lateral, require_frontal=False)["image"].shape == (1, 70, 90)


def test_saved_image_lies_on_the_stored_pixels(picture, tmp_path):
    """What MONAI's SaveImaged writes of a loaded picture is that picture, rows and columns in place."""
    Image.fromarray(picture).save(tmp_path / "a.png")
    save = SaveImaged(
        keys="image",
        output_dir=tmp_path / "out",
        output_postfix="copy",
        output_ext=".png",
        output_dtype=np.uint8,
        separate_folder=False,
        resample=False,
        print_log=False,
    )
    data = load(tmp_path / "a.png")
    data["image"] = (data["image"] * 255).round()
    Compose([save])(data)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a_copy.png")), picture)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'radiograph', 'mask' or 'label'"):
        RadiographReader("picture")
