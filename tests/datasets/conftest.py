"""Fixtures: originals as the public data sets hand them out, small and with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SIDE = 96


def picture(seed: int, shape: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.uint8]:
    """An 8-bit picture that differs from seed to seed."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def lung(side: str, shape: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.bool_]:
    """A box where the lung of this side of the patient lies on an image of (H, W)."""
    mask = np.zeros(shape, dtype=bool)
    rows, columns = shape
    start = columns // 8 if side == "right" else columns * 5 // 8
    mask[rows // 4 : rows * 3 // 4, start : start + columns // 4] = True
    return mask


def clavicle(side: str, shape: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.bool_]:
    """The upper quarter of that lung's box."""
    mask = lung(side, shape)
    mask[shape[0] * 3 // 8 :] = False
    return mask


def heart(shape: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.bool_]:
    """A box between the lungs that overlaps the left one."""
    rows, columns = shape
    mask = np.zeros(shape, dtype=bool)
    mask[rows // 2 : rows * 3 // 4, columns // 2 : columns * 3 // 4] = True
    return mask


@pytest.fixture
def make_clavicle() -> Callable[..., NDArray[np.bool_]]:
    """Return `make_clavicle(side, shape) -> (H, W) bool`."""
    return clavicle


@pytest.fixture
def make_heart() -> Callable[..., NDArray[np.bool_]]:
    """Return `make_heart(shape) -> (H, W) bool`."""
    return heart


@pytest.fixture
def make_picture() -> Callable[..., NDArray[np.uint8]]:
    """Return `make_picture(seed, shape) -> (H, W) uint8`."""
    return picture


@pytest.fixture
def make_lung() -> Callable[..., NDArray[np.bool_]]:
    """Return `make_lung(side, shape) -> (H, W) bool`."""
    return lung


@pytest.fixture
def save_picture() -> Callable[[Path, NDArray[Any]], Path]:
    """Return `save_picture(path, array) -> path`; a bool array becomes 0 and 255."""

    def save(path: Path, array: NDArray[Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(path)
        return path

    return save


@pytest.fixture
def shenzhen_originals(tmp_path: Path, save_picture: Callable[..., Path]) -> Path:
    """Twelve radiographs of the Shenzhen set, half of them abnormal; the last two lack a mask."""
    root = tmp_path / "shenzhen"
    for number in range(1, 13):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        save_picture(root / "ChinaSet_AllFiles" / "CXR_png" / f"{name}.png", picture(number))
        if number <= 10:
            both = lung("right") | lung("left")
            save_picture(root / "mask" / f"{name}_mask.png", both)
    readings = root / "ChinaSet_AllFiles" / "ClinicalReadings"
    readings.mkdir()
    (readings / "CHNCXR_0001_1.txt").write_text("male 45yrs\nnormal\n")
    return root


@pytest.fixture
def montgomery_originals(tmp_path: Path, save_picture: Callable[..., Path]) -> Path:
    """Four radiographs of the Montgomery set, portrait and landscape."""
    root = tmp_path / "montgomery" / "MontgomerySet"
    for number in range(1, 5):
        name = f"MCUCXR_{number:04d}_{number % 2}.png"
        shape = (120, 96) if number % 2 else (96, 120)
        save_picture(root / "CXR_png" / name, picture(number, shape))
        for side in ("right", "left"):
            save_picture(root / "ManualMask" / f"{side}Mask" / name, lung(side, shape))
    return root.parent


@pytest.fixture
def jsrt_originals(tmp_path: Path, save_picture: Callable[..., Path]) -> Path:
    """Four radiographs of JSRT as raw files, their SCR masks at half the size in two folds."""
    root = tmp_path / "jsrt"
    (root / "All247images").mkdir(parents=True)
    for number, name in enumerate(("JPCLN001", "JPCLN002", "JPCNN001", "JPCNN002")):
        stored = np.random.default_rng(number).integers(0, 4096, (SIDE, SIDE))
        (root / "All247images" / f"{name}.IMG").write_bytes(stored.astype(">u2").tobytes())
        for side in ("right", "left"):
            folder = root / "scratch" / f"fold{1 + number % 2}" / "masks" / f"{side} lung"
            save_picture(folder / f"{name}.gif", lung(side, (SIDE // 2, SIDE // 2)))
            folder = folder.with_name(f"{side} clavicle")
            save_picture(folder / f"{name}.gif", clavicle(side, (SIDE // 2, SIDE // 2)))
        save_picture(folder.with_name("heart") / f"{name}.gif", heart((SIDE // 2, SIDE // 2)))
    return root


@pytest.fixture
def side() -> int:
    """Rows and columns of the made-up originals."""
    return SIDE
