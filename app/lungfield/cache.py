"""Where lungfield keeps what can be made again: networks converted for a backend."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from lungfield.errors import OutputError


def cache_folder() -> Path:
    """The folder `$LUNGFIELD_CACHE`, or lungfield's own among the user's caches; it need not exist.

    Raises:
        OutputError: the user has no home, and the variable is not set.
    """
    if folder := os.environ.get("LUNGFIELD_CACHE"):
        return Path(folder)
    try:
        return platformdirs.user_cache_path("lungfield")
    except RuntimeError as error:
        raise OutputError("this user has no home folder; set LUNGFIELD_CACHE to a folder") from error
