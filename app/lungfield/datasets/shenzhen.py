"""The Shenzhen set: 662 radiographs, 566 of them with masks of both lungs in one."""

from __future__ import annotations

from pathlib import Path

from lungfield.datasets.layout import SetDescription
from lungfield.datasets.matching import files_in, find_folder, match_masks
from lungfield.datasets.preparation import PreparedSet, Track, prepare
from lungfield.datasets.splits import Split
from lungfield.labels import LUNG_SIDE_UNKNOWN

DESCRIPTION = SetDescription(
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

    Args:
        source: what the originals were unpacked to: holds `CXR_png/CHNCXR_0001_0.png` and so on.
        output: folder of the prepared set.
        masks: folder of `CHNCXR_0001_0_mask.png` and so on; by default `mask` or `masks` in `source`.
        split: how to divide the set, stratified by normal (`_0`) and abnormal (`_1`).
        max_side: longer side that no image exceeds, in pixels; None keeps every size.
        track: shows progress.

    Raises:
        DataError, UnreadableError, OutputError: see `lungfield.datasets.preparation.prepare`.
    """
    folder = masks or find_folder(source, "masks", "mask")
    # Copies of the set are also handed round mixed with the Montgomery set.
    images, mask_files = (
        [path for path in files_in(place) if path.name.upper().startswith("CHNCXR_")]
        for place in (find_folder(source, "CXR_png"), folder)
    )
    cases = match_masks(images, [(mask_files, LUNG_SIDE_UNKNOWN)])
    return prepare(cases, DESCRIPTION, output, split=split, max_side=max_side, track=track)
