"""Split a mask of both lungs into right and left."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.components import bounding_box, label_components

# The search for a valley between merged lungs works on a reduced mask.
_VALLEY_GRID_PX = 256
# Two lobes are two lungs if the neck between them is at most this fraction of the narrower lobe's width ...
_MAX_NECK = 0.75
# ... and if each has at least this fraction of the area.
_MIN_LOBE_SHARE = 0.15
# Without a neck, a component with this fraction of its area on either side of the midline is two lungs.
_MIN_SHARE_ACROSS_MIDLINE = 0.3
# A component below this fraction of the largest one is ignored for the decision, and follows the nearer lung.
_MIN_SECOND_LUNG = 0.05
# Components whose columns overlap by more than this fraction of the narrower one lie above each other.
_STACKED_OVERLAP = 0.5
# Components in one half of the image are one lung if their joint width / height is below this.
_MAX_LUNG_ASPECT = 0.6


def split_lungs(
    mask: NDArray[np.bool_], *, pixel_size: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.uint8]:
    """Split one mask of both lungs into right and left.

    The radiograph must be upright, with the patient's right on the left side of the image.

    - Components beside each other are the two lungs, at any position of the image's midline, unless they lie
      in one half of the image and together are as narrow as one lung.
    - Components above each other are parts of one lung; further components belong to the nearer lung.
    - One component that consists of two lobes side by side with a neck is two merged lungs: it is split along
      the valley of its distance transform. Without a neck, if it is wider than tall and has much of its area
      on either side of the image's midline, it is split straight at its narrowest column.
    - Any other component is a single lung (the other one is absent or opaque): its side is the half of the
      image with its centroid.

    Args:
        mask: (H, W) bool. Small components do not influence the split, but they are kept; `clean_mask`
            removes them.
        pixel_size: height and width of a pixel, in any unit, for comparisons of height and width.

    Returns:
        (H, W) uint8 label map: 0 background, 1 right lung, 2 left lung. All 0 for an empty mask.
    """
    label_map = np.zeros(mask.shape, dtype=np.uint8)
    box = bounding_box(mask)
    if box is None:
        return label_map
    midline = (mask.shape[1] - 1) / 2 - box[1].start
    on_image_left = _on_image_left(mask[box], midline, pixel_size)
    label_map[box] = np.where(on_image_left, RIGHT_LUNG.value, LEFT_LUNG.value) * mask[box]
    return label_map


def _on_image_left(
    mask: NDArray[np.bool_], midline: float, pixel_size: tuple[float, float]
) -> NDArray[np.bool_]:
    """The pixels of a cropped mask that belong to the lung on the left side of the image: (h, w) bool."""
    height, width = (length * size for length, size in zip(mask.shape, pixel_size, strict=True))
    components, areas = label_components(mask)
    columns = [_columns(components == number) for number in range(len(areas))]
    centres = np.array([(side.start + side.stop - 1) / 2 for side in columns])
    largest = int(areas.argmax())
    beside = [
        number
        for number in np.flatnonzero(areas >= _MIN_SECOND_LUNG * areas[largest])
        if _beside(columns[number], columns[largest])
    ]
    parted: NDArray[np.bool_] | None
    if beside:
        second = max(beside, key=lambda number: areas[number])
        between = (centres[largest] + centres[second]) / 2
        parted = (centres < between)[components]
        in_one_half = (centres[largest] < midline) == (centres[second] < midline)
        if in_one_half and width < _MAX_LUNG_ASPECT * height:
            parted = None
    else:
        parted = _part_at_valley(mask, pixel_size)
        if parted is None and width > height:
            parted = _part_at_midline(mask, midline)
    if parted is not None:
        return parted
    centroid = np.average(np.arange(mask.shape[1]), weights=mask.sum(axis=0))
    return np.full(mask.shape, centroid < midline)


def _columns(component: NDArray[np.bool_]) -> slice:
    """The columns of a component; none, where it is an absent background."""
    box = bounding_box(component)
    return slice(0, 0) if box is None else box[1]


def _beside(one: slice, other: slice) -> bool:
    """Whether two components with these columns lie beside each other and not above each other."""
    overlap = min(one.stop, other.stop) - max(one.start, other.start)
    return overlap <= _STACKED_OVERLAP * min(one.stop - one.start, other.stop - other.start)


def _part_at_valley(mask: NDArray[np.bool_], pixel_size: tuple[float, float]) -> NDArray[np.bool_] | None:
    """Split merged lungs at their neck: (h, w) bool, True on the left; None without a neck."""
    step = math.ceil(max(mask.shape) / _VALLEY_GRID_PX)
    small = mask[::step, ::step]
    height, width = small.shape
    if width < 2 or not small.any():
        return None
    # Imported on use: merged lungs are rare, and these imports take 0.3 s.
    from scipy import ndimage

    # Padded, as outside of the crop there is background.
    depth = ndimage.distance_transform_edt(np.pad(small, 1), sampling=pixel_size)[1:-1, 1:-1]
    half = width // 2
    left_row, left_column = divmod(int(depth[:, :half].argmax()), half)
    right_row, right_column = divmod(int(depth[:, half:].argmax()), width - half)
    right_column += half
    # Lobes that lie above rather than beside each other belong to a single lung.
    pixel_height, pixel_width = pixel_size
    if (right_column - left_column) * pixel_width <= abs(right_row - left_row) * pixel_height:
        return None
    from skimage.segmentation import watershed
    from skimage.transform import resize

    markers = np.zeros((height, width), dtype=np.int32)
    markers[left_row, left_column], markers[right_row, right_column] = 1, 2
    basins = watershed(-depth, markers)
    narrower = min(depth[left_row, left_column], depth[right_row, right_column])
    shares = [np.count_nonzero(small & (basins == lobe)) / np.count_nonzero(small) for lobe in (1, 2)]
    if _depth_of_neck(depth, basins) > _MAX_NECK * narrower or min(shares) < _MIN_LOBE_SHARE:
        return None
    # Interpolation between the two basins gives a smooth cut at full size.
    return resize((basins == 1).astype(np.float32), mask.shape, order=1) > 0.5


def _depth_of_neck(depth: NDArray[np.float64], basins: NDArray[np.int32]) -> float:
    """The half width of the widest passage between basins 1 and 2, in the unit of `depth`."""
    across_columns = np.minimum(depth[:, :-1], depth[:, 1:])[basins[:, :-1] != basins[:, 1:]]
    across_rows = np.minimum(depth[:-1], depth[1:])[basins[:-1] != basins[1:]]
    return float(max(across_columns.max(initial=0.0), across_rows.max(initial=0.0)))


def _part_at_midline(mask: NDArray[np.bool_], midline: float) -> NDArray[np.bool_] | None:
    """Split a wide component at its narrowest column near the midline; returns as `_part_at_valley`."""
    width = mask.shape[1]
    column_areas = mask.sum(axis=0)
    share_on_left = column_areas[np.arange(width) < midline].sum() / column_areas.sum()
    if not _MIN_SHARE_ACROSS_MIDLINE <= share_on_left <= 1 - _MIN_SHARE_ACROSS_MIDLINE:
        return None
    near = np.flatnonzero(np.abs(np.arange(width) - midline) <= width / 8)
    cut = near[column_areas[near].argmin()]
    return np.broadcast_to(np.arange(width) < cut, mask.shape)
