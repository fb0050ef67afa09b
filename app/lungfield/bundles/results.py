"""The folders that the configs write to: never another run's results, and named at the end."""

from __future__ import annotations

import logging
from pathlib import Path

from lungfield.errors import OutputError
from lungfield.names import shown


def refuse_other_results(folder: str | Path, *patterns: str, overwrite: bool | str = False) -> None:
    """Refuse to write where results of another run are.

    Args:
        folder: where this run is to write.
        patterns: globs of its results, such as '**/*_lungs.png'.
        overwrite: replace what has the same names; MONAI's command line hands `true` on as text.

    Raises:
        OutputError: names one of the results.
    """
    if str(overwrite).lower() == "true":
        return
    found = next((path for pattern in patterns for path in Path(folder).glob(pattern)), None)
    if found is not None:
        raise OutputError(
            f"{folder} holds the results of a run ({found.relative_to(folder)}). Write over them by "
            "--overwrite true, or choose another output folder by --output_dir."
        )


def name_results(folder: str | Path) -> None:
    """Say where the results are, as the log of a long run scrolls away."""
    logging.getLogger("lungfield").info("results: %s", shown(str(Path(folder).absolute())))
