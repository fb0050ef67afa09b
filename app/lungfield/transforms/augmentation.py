"""Augmentations that make training radiographs as varied as those of other hospitals.

Each one addresses a failure of networks that were trained on clear, well-positioned radiographs. MONAI has
the others (affine, noise, blur, bias field, contrast).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type, convert_to_numpy
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]


class _RandImageAndLabeld(RandomizableTransform, MapTransform):
    """A random change of an image that depends on its label and may change the label.

    Args:
        keys: the image, (1, H, W) float in [0, 1].
        label_key: the label, (C, H, W) in [0, 1]; its first channel is the lung.
        prob: probability of the change.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label", *, prob: float = 0.3) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the changed image and, if necessary, the changed label."""
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        for key in self.key_iterator(result):
            image = convert_to_numpy(result[key])[0].copy()
            label = convert_to_numpy(result[self.label_key]).copy()
            image, label = self.change(image, label)
            result[key] = convert_to_dst_type(image[None], result[key])[0]
            result[self.label_key] = convert_to_dst_type(label, result[self.label_key])[0]
        return result

    def change(self, image: Floats, label: Floats) -> tuple[Floats, Floats]:
        """Change an (H, W) image and its (C, H, W) label."""
        raise NotImplementedError


class RandOpacityd(_RandImageAndLabeld):
    """Makes parts of the lungs opaque, like consolidation, effusion and collapse; the label is not changed.

    References include opaque parts in the lung field, but a network that was trained on clear lungs only
    excludes them (after Selvan et al. 2020, 'Lung segmentation from chest X-rays using variational data
    imputation'). Each opacity is a smooth-edged ellipse or, in a third of the cases, a whole lung below a
    level, like an effusion. Its pixels are shifted towards the brightness of the surrounding tissue.
    """

    def __init__(
        self, keys: KeysCollection, label_key: str = "label", *, prob: float = 0.4, max_count: int = 4
    ) -> None:
        super().__init__(keys, label_key, prob=prob)
        self.max_count = max_count

    def change(self, image: Floats, label: Floats) -> tuple[Floats, Floats]:
        """Shift some regions, centred in the lungs, towards the brightness of tissue."""
        lung = label[0] > 0.5
        rows, columns = np.nonzero(lung)
        if rows.size == 0 or lung.all():
            return image, label
        tissue = float(np.quantile(image[~lung], self.R.uniform(0.6, 0.95)))
        yy, xx = np.ogrid[: image.shape[0], : image.shape[1]]
        veil = np.zeros_like(image)
        for _ in range(self.R.randint(1, self.max_count + 1)):
            centre = self.R.randint(rows.size)
            row, column = rows[centre], columns[centre]
            strength = self.R.uniform(0.3, 1.0)
            if self.R.random_sample() < 1 / 3:
                left = xx < image.shape[1] / 2
                side = left if column < image.shape[1] / 2 else ~left
                softness = self.R.uniform(0.01, 0.06) * image.shape[0]
                tilt = self.R.uniform(-0.3, 0.3) * (xx - column)
                region = side / (1 + np.exp(np.clip((row + tilt - yy) / softness, -30, 30)))
                spread = 0.1
            else:
                height, width = self.R.uniform(0.04, 0.22, size=2) * image.shape[0]
                distance = np.hypot((yy - row) / height, (xx - column) / width)
                region = 1 / (1 + np.exp(np.clip((distance - 1) * self.R.uniform(3, 12), -30, 30)))
                spread = 0.35
            texture = 1 - spread * self._cloud(image.shape)
            veil = np.maximum(veil, (strength * region * texture).astype(np.float32))
        # Opacities end at the lung's border, with a blur, so that no sharp edge reveals the label.
        inside = ndimage.gaussian_filter(lung.astype(np.float32), sigma=image.shape[0] / 100)
        return np.maximum(image, image + (tissue - image) * veil * inside), label

    def _cloud(self, shape: tuple[int, ...]) -> Floats:
        coarse = self.R.random_sample((8, 8)).astype(np.float32)
        return ndimage.zoom(coarse, [shape[0] / 8, shape[1] / 8], order=1, grid_mode=True, mode="nearest")


class RandCollimationd(_RandImageAndLabeld):
    """Blanks borders of the image, black or white, straight or slightly rotated, and of the label."""

    def __init__(
        self, keys: KeysCollection, label_key: str = "label", *, prob: float = 0.25, max_border: float = 0.15
    ) -> None:
        super().__init__(keys, label_key, prob=prob)
        self.max_border = max_border

    def change(self, image: Floats, label: Floats) -> tuple[Floats, Floats]:
        """Blank up to four borders."""
        height, width = image.shape
        yy, xx = np.mgrid[:height, :width] / max(height, width)
        angle = self.R.uniform(-0.08, 0.08)
        yy, xx = yy + angle * xx, xx - angle * yy
        blank = np.zeros(image.shape, dtype=bool)
        sides = (yy, yy.max() - yy, xx, xx.max() - xx)
        for distance in sides:
            if self.R.random_sample() < 0.6:
                blank |= distance < self.R.uniform(0, self.max_border)
        value = 0.0 if self.R.random_sample() < 0.8 else 1.0
        image[blank] = value
        label[:, blank] = 0
        return image, label


class RandForeignObjectsd(_RandImageAndLabeld):
    """Draws bright foreign objects: blocks of marker letters, cables, electrodes, devices."""

    def __init__(
        self, keys: KeysCollection, label_key: str = "label", *, prob: float = 0.3, max_count: int = 4
    ) -> None:
        super().__init__(keys, label_key, prob=prob)
        self.max_count = max_count

    def change(self, image: Floats, label: Floats) -> tuple[Floats, Floats]:
        """Draw blocks, discs and curved lines; the label is not changed."""
        size = max(image.shape)
        yy, xx = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32) / size
        drawing = np.zeros_like(image)
        for _ in range(self.R.randint(1, self.max_count + 1)):
            row, column = self.R.random_sample(2)
            kind = self.R.randint(3)
            if kind == 0:
                height, width = self.R.uniform(0.01, 0.06, size=2)
                shape = (np.abs(yy - row) < height) & (np.abs(xx - column) < width)
            elif kind == 1:
                shape = np.hypot(yy - row, xx - column) < self.R.uniform(0.008, 0.035)
            else:
                angle, bend = self.R.uniform(0, np.pi), self.R.uniform(-1.5, 1.5)
                along = (yy - row) * np.sin(angle) + (xx - column) * np.cos(angle)
                across = (yy - row) * np.cos(angle) - (xx - column) * np.sin(angle)
                shape = np.abs(across - bend * along**2) < self.R.uniform(0.002, 0.006)
            drawing[shape] = self.R.uniform(0.3, 1.0)
        drawing = ndimage.gaussian_filter(drawing, sigma=0.5)
        return np.maximum(image, image + (1 - image) * drawing), label
