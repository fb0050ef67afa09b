"""What a server sent, and whether it is the mask that it should be."""

import numpy as np
from scipy.ndimage import center_of_mass

from lungfield.mask.metrics import agreement


def received(response, tmp_path):
    """The file that the server sent, under the name that it gave it."""
    assert response.status_code == 200, response.text
    name = response.headers["content-disposition"].split('filename="')[1].rstrip('"')
    path = tmp_path / name
    path.write_bytes(response.content)
    return path


def assert_same_lungs(mask, expected):
    assert mask.shape == expected.shape
    assert set(np.unique(mask)) == {0, 1, 2}
    for value in (1, 2):
        assert agreement(mask == value, expected == value, spacing=None).dice > 0.99
    # The patient's right is on the left of the picture, and the picture upright.
    assert center_of_mass(mask == 1)[1] < center_of_mass(mask == 2)[1]
    assert (mask[: len(mask) // 4] > 0).sum() < (mask[len(mask) // 4 : len(mask) // 2] > 0).sum()
