"""NIfTI files of any orientation, and what else comes under that name."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lungfield.errors import UnreadableError
from lungfield.pose import Pose
from lungfield.radiograph import Limits, read_radiograph

DIRECTIONS = [pair for pair in product("LRHF", repeat=2) if (pair[0] in "LR") != (pair[1] in "LR")]
UNIT = {"L": (-1, 0, 0), "R": (1, 0, 0)}
VERTICAL = {"coronal": {"H": (0, 0, 1), "F": (0, 0, -1)}, "picture": {"H": (0, 1, 0), "F": (0, -1, 0)}}


def shown(picture: NDArray[Any]) -> NDArray[Any]:
    low, high = np.percentile(picture, (0.1, 99.9))
    return np.clip((picture.astype(float) - low) / (high - low), 0, 1)


def write(
    path: Path,
    values: NDArray[Any],
    affine: NDArray[Any] | None,
    *,
    axes: tuple[int, int] = (0, 1),
    code: int = 1,
) -> Path:
    """Write values (H, W) as stored: columns along axes[0] and rows along axes[1] of one plane."""
    shape = [1, 1, 1]
    shape[axes[0]], shape[axes[1]] = values.shape[::-1]
    image = nibabel.Nifti1Image(np.ascontiguousarray(values.T).reshape(shape), affine)
    if affine is not None:
        image.set_sform(affine, code)
        image.set_qform(None, 0)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("plane", VERTICAL)
@pytest.mark.parametrize("directions", DIRECTIONS, ids="".join)
def test_the_affine_brings_a_picture_upright(
    directions: tuple[str, str], plane: str, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    axes = (0, 2) if plane == "coronal" else (0, 1)
    pose = Pose.of_directions(*directions)
    units = UNIT | VERTICAL[plane]
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[:3, axes[0]] = 0.3 * np.array(units[directions[0]])
    affine[:3, axes[1]] = 0.2 * np.array(units[directions[1]])
    affine[:3, 3 - sum(axes)] = np.cross(affine[:3, axes[0]], affine[:3, axes[1]])
    stored = pose.stored(picture)
    radiograph = read_radiograph(write(tmp_path / "a.nii.gz", stored, affine, axes=axes))
    np.testing.assert_allclose(radiograph.pixels, shown(picture), atol=1e-3)
    assert radiograph.pose == pose
    assert radiograph.pose_is_known is (plane == "coronal" or directions != ("L", "F"))
    assert radiograph.warnings == ()
    # Spacing turns with the picture: 0.3 mm along the file's first axis.
    along_rows = radiograph.stored_spacing.column_mm
    assert (along_rows, radiograph.stored_spacing.row_mm) == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize(
    ("affine", "code"),
    [(None, 0), (np.eye(4), 1), (np.diag([0.2, 0.2, 1, 1]), 0), (np.diag([-0.2, -0.2, 1, 1]), 1)],
    ids=["no affine", "identity", "code 0", "as ITK writes any picture"],
)
def test_an_affine_that_says_nothing_turns_nothing(
    affine: NDArray[Any] | None, code: int, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    radiograph = read_radiograph(write(tmp_path / "a.nii", picture, affine, code=code))
    np.testing.assert_allclose(radiograph.pixels, shown(picture), atol=1e-3)
    assert not radiograph.pose_is_known


def test_a_sagittal_plane_is_remarked_on(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    affine = np.diag([0.2, 0.2, 0.2, 1])
    radiograph = read_radiograph(write(tmp_path / "a.nii", picture, affine, axes=(1, 2)))
    np.testing.assert_allclose(radiograph.pixels, shown(picture), atol=1e-3)
    assert any("no frontal plane" in warning for warning in radiograph.warnings)


def test_an_oblique_affine_counts_by_its_nearest_axes(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    turn = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    radiograph = read_radiograph(write(tmp_path / "a.nii", picture[::-1, ::-1], affine))
    np.testing.assert_allclose(radiograph.pixels, shown(picture), atol=1e-3)
    assert radiograph.pose.directions == ("R", "H")


def test_what_is_not_a_number_leaves_the_rest_as_it_is(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    values = picture.astype(np.float32)
    plain = read_radiograph(write(tmp_path / "a.nii", values, None))
    holes = values.copy()
    holes[30:40, 50:60] = np.nan
    holes[0, 0] = np.inf
    radiograph = read_radiograph(write(tmp_path / "b.nii", holes, None))
    valid = np.isfinite(holes)
    np.testing.assert_array_equal(radiograph.valid, valid)
    np.testing.assert_allclose(radiograph.pixels[valid], plain.pixels[valid], atol=0.01)
    assert not radiograph.pixels[~valid].any()


def test_rgb24_that_is_grey(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    grey = (picture >> 4).astype(np.uint8)
    values = np.empty(grey.T.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name in values.dtype.names:
        values[name] = grey.T
    nibabel.save(nibabel.Nifti1Image(values, None), tmp_path / "a.nii")
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.nii").pixels, grey / 255, atol=1e-6)


def with_affine(path: Path, picture: NDArray[np.uint16], affine: NDArray[Any]) -> Path:
    """A file of an affine that nibabel would not write."""
    image = nibabel.Nifti1Image(picture.T, None)
    image.header["sform_code"] = 1
    for name, row in zip(("srow_x", "srow_y", "srow_z"), affine, strict=False):
        image.header[name] = row
    path.write_bytes(image.to_bytes())
    return path


def test_an_affine_between_two_axes_counts_for_one_of_them(
    picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    """Both columns are a little nearer to the left than to posterior: one of them has to be posterior."""
    affine = np.array([[-0.71, -0.72, 0, 0], [0.7, -0.69, 0, 0], [0, 0, 1, 0]])
    radiograph = read_radiograph(with_affine(tmp_path / "a.nii", picture, affine))
    assert radiograph.pose.directions in (("L", "F"), ("H", "L"))
    turned = read_radiograph(with_affine(tmp_path / "a.nii", picture, -affine))
    assert turned.pose.directions in (("R", "H"), ("F", "R"))
    assert turned.pose_is_known


@pytest.mark.parametrize("value", [0, np.nan])
def test_an_affine_that_leads_nowhere_is_remarked_on(
    value: float, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    radiograph = read_radiograph(with_affine(tmp_path / "a.nii", picture, np.full((3, 4), value)))
    assert not radiograph.pose_is_known
    np.testing.assert_allclose(radiograph.pixels, shown(picture), atol=1e-3)
    assert any("no frontal plane" in warning for warning in radiograph.warnings)


def test_a_unit_that_means_nothing(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(picture.T, np.diag([-0.2, -0.3, 1, 1]))
    image.header["xyzt_units"] = 7
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    spacing = read_radiograph(tmp_path / "a.nii").spacing
    assert (spacing.row_mm, spacing.column_mm) == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize("name", ["a.hdr", "a.hdr.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_pairs_of_files_come_upright(
    kind: Any, name: str, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    kind(picture.T.astype(np.int16), np.diag([0.2, 0.2, 1, 1])).to_filename(tmp_path / name)
    radiograph = read_radiograph(tmp_path / name)
    assert radiograph.pose.directions == ("R", "H")
    np.testing.assert_allclose(radiograph.pixels, shown(picture[::-1, ::-1]), atol=1e-3)


def test_limits_hold_for_both_files_of_a_pair(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    nibabel.Nifti1Pair(picture.T.astype(np.int16), None).to_filename(tmp_path / "a.hdr.gz")
    with pytest.raises(UnreadableError, match="decompression"):
        read_radiograph(tmp_path / "a.hdr.gz", limits=Limits(max_inflated_bytes=10_000))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.AnalyzeImage])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pairs_of_files(kind: Any, order: str, picture: NDArray[np.uint16], tmp_path: Path) -> None:
    header = kind.header_class(endianness=order)
    image = kind(picture.T.astype(np.int16), None, header)
    image.to_filename(tmp_path / "a.hdr")
    radiograph = read_radiograph(tmp_path / "a.hdr")
    np.testing.assert_allclose(radiograph.pixels, shown(picture), atol=1e-3)
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableError, match=r"\.img file"):
        read_radiograph(tmp_path / "a.hdr")


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 0.001), ("meter", 1000), ("unknown", 1)])
def test_spacing_has_the_units_of_the_header(
    unit: str, factor: float, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    image = nibabel.Nifti1Image(np.ascontiguousarray(picture.T), None)
    image.header.set_zooms((0.2 / factor, 0.3 / factor))
    image.header.set_xyzt_units(unit, "sec")
    nibabel.save(image, tmp_path / "a.nii")
    spacing = read_radiograph(tmp_path / "a.nii").spacing
    assert (spacing.column_mm, spacing.row_mm) == pytest.approx((0.2, 0.3))
