"""Finding out how a radiograph lies, and which of its values are dark, where its file does not say.

Only where the first mask is not that of lungs. The constants below were measured by
`scripts/measure_corrections.py` on real radiographs; docs/quality-flags.md shows what they are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from skimage.measure import block_reduce

from lungfield.mask import Flag, Quality
from lungfield.pose import ALL_POSES, UPRIGHT, Pose
from lungfield.records import Radiograph

PLACEHOLDER = 0


def possible_changes(radiograph, quality):
    return ()
