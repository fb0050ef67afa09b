"""A transform that does to a worker what a bad file can do, asked for by the number of rows."""

import ctypes
import time

from monai.transforms import MapTransform

ABORT, HANG = 201, 202


class Misbehaved(MapTransform):
    def __call__(self, data):
        for key in self.key_iterator(data):
            rows = data[key].shape[-2]
            if rows == ABORT:
                ctypes.string_at(0)
            elif rows == HANG:
                time.sleep(600)
        return data
