"""The last import of the fork server: everything that workers need, imported once for all of them.

Workers share the memory of these modules until they write to it, and Python's garbage collector writes to
every object that it visits. So the objects are frozen (`gc.freeze`). This also spares the fork server a
collection at its end, which took four seconds of a core with a gigabyte of modules.
"""

from __future__ import annotations

import gc

import highdicom  # noqa: F401  (takes half a second; elsewhere it is imported on use)

import lungfield.batch.worker  # noqa: F401

gc.collect()
gc.freeze()
