"""A transform that does to a worker process what a bad file can do, asked for by the first pixel."""

import ctypes
import errno
import os
import signal
import time

import numpy as np
from monai.transforms import MapTransform

ABORT, HANG, EXHAUST, FULL_DISK, FAIL, KILLED = 11, 22, 33, 44, 55, 66


class Misbehaved(MapTransform):
    def __call__(self, data):
        for key in self.key_iterator(data):
            asked = round(float(data[key][0, 0, 0]) * 255)
            if asked == ABORT:
                ctypes.string_at(0)
            elif asked == HANG:
                time.sleep(600)
            elif asked == EXHAUST:
                np.ones(1 << 36, dtype=np.uint8)
            elif asked == FULL_DISK:
                os.fsync = _full
            elif asked == KILLED:  # as the system does where memory runs out
                os.kill(os.getpid(), signal.SIGKILL)
            elif asked == FAIL:
                raise KeyError("Secret^Name")
        return data


def _full(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
