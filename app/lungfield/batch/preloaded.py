"""The last import of the fork server: everything that workers need, imported once for all of them.

Python's garbage collector is off meanwhile: imports make a million objects and hardly any garbage, and to
visit them took a sixth of the time. Workers share the memory of these objects until they write to it, and
the collector writes to every object that it visits. So they are frozen (`gc.freeze`). This also spares the
fork server a collection at its end, which took four seconds of a core with a gigabyte of modules.
"""

from __future__ import annotations

import gc

gc.disable()

import lungfield.batch.worker  # noqa: E402, F401

gc.freeze()
gc.enable()
