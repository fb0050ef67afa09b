"""What the fork server imports last: all that workers need, once for all of them.

A worker shares what is imported here until it is written to, and Python's garbage collector writes to every
object that it looks at. So it is told to leave these alone. Besides, the fork server, which ends with the
main process, would look at them all at its end: with a gigabyte of modules that took four seconds of a core.
"""

from __future__ import annotations

import gc

import highdicom  # noqa: F401  (takes half a second; elsewhere it is imported on use)

import lungfield.batch.worker  # noqa: F401

gc.collect()
gc.freeze()
