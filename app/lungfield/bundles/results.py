"""The output folders of the configs: refuse to overwrite results, and log the folder at the end."""

from __future__ import annotations

import logging
from pathlib import Path

from lungfield.errors import OutputError
from lungfield.names import shown


def refuse_other_results(folder: str | Path, *patterns: str, overwrite: bool | str = False) -> None:
    """Refuse an output folder that holds the results of another run.

    Args:
        folder: the output folder.
        patterns: globs of results, such as '**/*_lungs.png'.
        overwrite: accept such a folder; MONAI's command line passes `true` as a string.

    Raises:
        OutputError: the folder holds results and `overwrite` is false; the message names one of them.
    """
    if str(overwrite).lower() == "true":
        return
    found = next((path for pattern in patterns for path in Path(folder).glob(pattern)), None)
    if found is not None:
        raise OutputError(
            f"{folder} holds the results of a run ({found.relative_to(folder)}). Overwrite them with "
            "--overwrite true, or choose another output folder with --output_dir."
        )


def name_results(folder: str | Path) -> None:
    """Log the path of the results at the end of a run."""
    logging.getLogger("lungfield").info("results: %s", shown(str(Path(folder).absolute())))
