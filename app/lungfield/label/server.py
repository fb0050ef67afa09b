"""Start the server: MONAI Label's command, with lungfield's app and safe settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from lungfield.atomic import write_whole
from lungfield.bundles import Bundle, all_bundles, find_bundle
from lungfield.errors import BundleError, DataError

WEB_APPLICATION = "lungfield.label.asgi:app"
_APP = '''"""The MONAI Label app of lungfield. Written by `lungfield label`: changes made here are lost."""

from lungfield.label.main import LungFields

__all__ = ["LungFields"]
'''


def require_monai_label() -> None:
    """Raise `BundleError`, with the command to install it, if MONAI Label is missing."""
    if importlib.util.find_spec("monailabel") is None:
        raise BundleError(
            "MONAI Label is not installed. In a separate environment: "
            "pip install -c constraints-label.txt 'lungfield[label]'; see docs/monai-label.md."
        )


def chosen_bundles(names: str) -> list[Bundle]:
    """The bundles of a comma-separated list of names and folders; all shipped ones with weights for ''.

    Raises:
        BundleError: one is missing or has no weights, or two have the same name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        return [one for one in all_bundles() if one.has_weights]
    bundles = [find_bundle(name) for name in wanted]
    for one in bundles:
        if not one.has_weights:
            raise BundleError(
                f"The bundle {one.name!r} has no weights; train it first: {one.root}/docs/README.md."
            )
    if len({one.name for one in bundles}) < len(bundles):
        raise BundleError("Two bundles have the same name; rename the folder of one.")
    return bundles


def default_home() -> Path:
    """The user's folder for logs and for weights that the server trains."""
    from platformdirs import user_data_path

    return user_data_path("lungfield") / "label"


def prepare_home(home: Path) -> Path:
    """Create the folder that MONAI Label uses as the app, and return it.

    MONAI Label writes into the folder of its app, which must not be the installed package.

    Raises:
        OutputError: the folder cannot be written to.
    """
    home = home.expanduser().resolve()
    write_whole(home / "main.py", _APP.encode())
    return home


def start(
    studies: str,
    *,
    home: Path,
    bundles: Sequence[str] = (),
    device: str = "auto",
    conf: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Run the server until it is stopped.

    Args:
        studies: an existing folder of radiographs, or the http(s) address of a DICOMweb server.
        home: folder for logs and trained weights; created if missing.
        bundles: names or folders; empty for all shipped ones with weights.
        device: 'auto', 'cpu', 'cuda', ...
        conf: further settings of the app; see `lungfield.label.main.LungFields`.
        host: address to listen on. The server has no authentication: use the loopback only.
        port: port to listen on.

    Raises:
        DataError: the folder does not exist.
        BundleError: MONAI Label, a bundle or its weights are missing.
        OutputError: `home` cannot be written to.
    """
    require_monai_label()
    if not studies.startswith(("http://", "https://")) and not Path(studies).is_dir():
        raise DataError(f"{studies}: no such folder; give a folder of radiographs or a DICOMweb address.")
    chosen_bundles(",".join(bundles))  # check now: MONAI Label would show the error in a long traceback

    from monailabel.main import Main

    command = Main()
    words = ["start_server", "--app", str(prepare_home(home)), "--studies", studies]
    words += ["--host", host, "--port", str(port), "--uvicorn_app", WEB_APPLICATION]
    for name, value in {**(conf or {}), "bundles": ",".join(bundles), "device": device}.items():
        words += ["--conf", name, value]
    command.action_start_server(command.args_parser().parse_args(words))
