"""The Montgomery County set: 138 radiographs with a mask of each lung."""

from __future__ import annotations

from pathlib import Path

from lungfield.datasets.layout import SetDescription
from lungfield.datasets.matching import files_in, find_folder, match_masks
from lungfield.datasets.preparation import PreparedSet, Track, prepare
from lungfield.datasets.splits import Split
from lungfield.labels import LEFT_LUNG, RIGHT_LUNG

DESCRIPTION = SetDescription(
    name="montgomery",
    description="Radiographs of Montgomery County, normal and with tuberculosis, a mask of each lung.",
    source="https://openi.nlm.nih.gov/faq (MontgomerySet)",
    citation=(
        "S. Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary "
        "diseases, Quant Imaging Med Surg 4(6), 2014"
    ),
    licence="Research; see the set's own readme",
)


def prepare_montgomery(
    source: Path,
    output: Path,
    *,
    split: Split = Split(),  # noqa: B008 - frozen
    max_side: int | None = 1024,
    track: Track = iter,
) -> PreparedSet:
    """Prepare the Montgomery County set.

    Its `leftMask` is taken for the patient's left lung, which lies on the right side of the image. Should a
    pair of masks lie the other way round, their position decides; the result names these images.

    Args:
        source: what the originals were unpacked to: holds `CXR_png` and `ManualMask/{leftMask,rightMask}`.
        output: folder of the prepared set.
        split: how to divide the set, stratified by normal (`_0`) and abnormal (`_1`).
        max_side: longer side that no image exceeds, in pixels; None keeps every size.
        track: shows progress.

    Raises:
        DataError, UnreadableError, OutputError: see `lungfield.datasets.preparation.prepare`.
    """
    cases = match_masks(
        files_in(find_folder(source, "CXR_png")),
        [
            (files_in(find_folder(source, "rightMask")), RIGHT_LUNG.value),
            (files_in(find_folder(source, "leftMask")), LEFT_LUNG.value),
        ],
    )
    return prepare(cases, DESCRIPTION, output, split=split, max_side=max_side, track=track)
