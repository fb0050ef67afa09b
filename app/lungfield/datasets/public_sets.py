"""The public sets: Shenzhen (662 radiographs), Montgomery County (138) and JSRT (247 in raw files)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from lungfield.datasets.layout import SetDescription
from lungfield.datasets.matching import (
    advice_for_pictures,
    files_below,
    files_in,
    find_folder,
    match_masks,
    with_structures,
)
from lungfield.datasets.preparation import PreparedSet, SourceImage, Track, prepare
from lungfield.datasets.splits import Split
from lungfield.errors import DataError, UnreadableError
from lungfield.labels import CLAVICLES, HEART, LEFT_LUNG, LUNG_SIDE_UNKNOWN, RIGHT_LUNG

SHENZHEN = SetDescription(
    name="shenzhen",
    description="Radiographs of Shenzhen No. 3 Hospital, normal and with tuberculosis, one lung mask.",
    source="https://openi.nlm.nih.gov/faq (ChinaSet_AllFiles); masks: kaggle.com/yoctoman/shcxr-lung-mask",
    citation=(
        "S. Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary "
        "diseases, Quant Imaging Med Surg 4(6), 2014; S. Stirenko et al., Chest X-ray analysis of "
        "tuberculosis by deep learning with segmentation and augmentation, 2018"
    ),
    licence="Research; the masks CC BY-NC-SA 4.0",
)
MONTGOMERY = SetDescription(
    name="montgomery",
    description="Radiographs of Montgomery County, normal and with tuberculosis, a mask of each lung.",
    source="https://openi.nlm.nih.gov/faq (MontgomerySet)",
    citation=(
        "S. Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary "
        "diseases, Quant Imaging Med Surg 4(6), 2014"
    ),
    licence="Research; see the set's own readme",
)
JSRT = SetDescription(
    name="jsrt",
    description=(
        "Posterior-anterior radiographs, 154 with a nodule and 93 without, with a mask of each lung, of the "
        "heart and of each clavicle."
    ),
    source="http://db.jsrt.or.jp/eng.php; masks: SCR database, https://www.isi.uu.nl/Research/Databases/SCR/",
    citation=(
        "J. Shiraishi et al., Development of a digital image database for chest radiographs with and without "
        "a lung nodule, AJR 174, 2000, doi:10.2214/ajr.174.1.1740071; B. van Ginneken et al., "
        "Segmentation of anatomical structures in chest radiographs using supervised methods, Med "
        "Image Anal 10(1), 2006, doi:10.1016/j.media.2005.02.002"
    ),
    licence="Research; see the terms of JSRT and SCR",
)

# Films of 14 inches digitised to 2048 x 2048 pixels of 0.175 mm (Shiraishi 2000).
_SIDE_MM = 2048 * 0.175
_MAX_VALUE = 4095


def prepare_shenzhen(
    source: Path,
    output: Path,
    *,
    masks: Path | None = None,
    split: Split = Split(),  # noqa: B008 - frozen
    max_side: int | None = 1024,
    track: Track = iter,
) -> PreparedSet:
    """Prepare the images of the Shenzhen set that have a mask.

    `source` is the folder of the unpacked originals, with `CXR_png/CHNCXR_0001_0.png` and so on. `masks`
    is the folder of `CHNCXR_0001_0_mask.png` and so on; by default `mask` or `masks` in `source`. The split
    is stratified by normal (`_0`) and abnormal (`_1`). Other arguments and errors are those of
    `lungfield.datasets.preparation.prepare`.
    """
    folder = masks or find_folder(source, "masks", "mask")
    # Some copies of the set are mixed with the Montgomery set.
    images, mask_files = (
        [path for path in files_in(place) if path.name.upper().startswith("CHNCXR_")]
        for place in (find_folder(source, "CXR_png"), folder)
    )
    cases = match_masks(images, [(mask_files, LUNG_SIDE_UNKNOWN)])
    return prepare(cases, SHENZHEN, output, split=split, max_side=max_side, track=track)


def prepare_montgomery(
    source: Path,
    output: Path,
    *,
    split: Split = Split(),  # noqa: B008 - frozen
    max_side: int | None = 1024,
    track: Track = iter,
) -> PreparedSet:
    """Prepare the Montgomery County set.

    Its `leftMask` is the patient's left lung, on the right side of the image. If a pair of masks is
    exchanged, the position determines the sides; the result lists these images.

    `source` is the folder of the unpacked originals, with `CXR_png` and `ManualMask/{leftMask,rightMask}`.
    The split is stratified by normal (`_0`) and abnormal (`_1`). Other arguments and errors are those of
    `lungfield.datasets.preparation.prepare`.
    """
    cases = match_masks(
        files_in(find_folder(source, "CXR_png")),
        [
            (files_in(find_folder(source, "rightMask")), RIGHT_LUNG.value),
            (files_in(find_folder(source, "leftMask")), LEFT_LUNG.value),
        ],
    )
    return prepare(cases, MONTGOMERY, output, split=split, max_side=max_side, track=track)


def prepare_jsrt(
    source: Path,
    output: Path,
    *,
    masks: Path | None = None,
    split: Split = Split(),  # noqa: B008 - frozen
    max_side: int | None = 1024,
    track: Track = iter,
) -> PreparedSet:
    """Prepare the JSRT set with the masks of SCR: lungs, and if available heart and clavicles.

    The masks of `left lung` are the patient's left lung, on the right side of the image. If a pair of masks
    is exchanged, the position determines the sides; the result lists these images. The same applies to the
    clavicles.

    `source` is the folder of the unpacked originals, with `JPCLN001.IMG` and so on, at any depth; likewise
    `masks`, by default `source`, of SCR: `fold1/masks/left lung/JPCNN001.gif` and so on. The split is
    stratified by nodule (JPCLN) or none (JPCNN). Other arguments and errors are those of
    `lungfield.datasets.preparation.prepare`.
    """
    images = files_below(source, ".img")
    mask_files = files_below(masks or source, ".gif")

    def of(folder: str) -> list[Path]:
        return [path for path in mask_files if path.parent.name.lower() == folder]

    right, left = of("right lung"), of("left lung")
    if not (right and left):
        raise DataError(
            f"No masks in folders 'right lung' and 'left lung' in {masks or source}."
            + advice_for_pictures(source)
        )
    cases = match_masks(images, [(right, RIGHT_LUNG.value), (left, LEFT_LUNG.value)])
    further = {label.name: of(label.name.replace("_", " ")) for label in (HEART, *CLAVICLES)}
    cases = with_structures(cases, {name: files for name, files in further.items() if files})
    return prepare(cases, JSRT, output, split=split, max_side=max_side, read=read_jsrt_image, track=track)


def read_jsrt_image(path: Path) -> SourceImage:
    """Decode a raw file of JSRT.

    It has no header: a square of unsigned 16-bit big-endian values, of which 12 bits are used. Values are
    film densities, so air is high and bone low; they are inverted here, so that lungs are dark.

    Raises:
        UnreadableError: the file cannot be read, is no such square, or uses more than 12 bits.
    """
    try:
        stored = np.fromfile(path, dtype=">u2")
        size_bytes = path.stat().st_size
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}.") from error
    side = math.isqrt(stored.size)
    if side == 0 or 2 * side * side != size_bytes:
        raise UnreadableError(
            f"{path} has {size_bytes} bytes, which is no square of 16-bit pixels (2048 x 2048: 8388608). "
            "Is it complete?"
        )
    if stored.max() > _MAX_VALUE:
        raise UnreadableError(f"{path} has values above {_MAX_VALUE}: not a 12-bit big-endian file of JSRT.")
    pixels = (_MAX_VALUE - stored.reshape(side, side)).astype(np.float32) / np.float32(_MAX_VALUE)
    return SourceImage(pixels, (_SIDE_MM / side, _SIDE_MM / side))
