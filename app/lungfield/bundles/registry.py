"""The shipped bundles and their folders. Does not import torch, so that listing them is quick."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lungfield.errors import BundleError

#: The shipped bundles, one line each, in the order in which they are listed.
BUNDLES = (
    "efficientnet_lite0_unet",
    "unet",
    "gsconv_unet",
    "ag_minaspp_gsconv_unet",
    "resnet101_unet",
    "mobilenetv2_unet",
    "inceptionresnetv2_unet",
    "amalgamated_unet",
)
#: The default of `lungfield segment` and `lungfield.Segmenter`; it ships with weights.
DEFAULT_BUNDLE = "efficientnet_lite0_unet"

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk: its folder, the folder's name, and the content of configs/metadata.json."""

    name: str
    root: Path
    metadata: dict[str, Any] = field(repr=False)

    @property
    def version(self) -> str:
        """The bundle's version."""
        return str(self.metadata.get("version", "unknown"))

    @property
    def is_shipped(self) -> bool:
        """Whether lungfield ships it; False for a copy and for a bundle of others."""
        return self.name in BUNDLES and self.root.parent == shipped("bundles").resolve()

    @property
    def inference_config(self) -> Path:
        """The path of its inference config."""
        return self.root / "configs" / "inference.yaml"

    @property
    def weights(self) -> Path:
        """The path of the trained network's state dict; the file may be missing."""
        return self.root / "models" / "model.pt"

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the file of weights, in hexadecimal; computed on first use.

        Raises:
            BundleError: there is no such file, or it cannot be read.
        """
        try:
            with self.weights.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(
                f"The bundle {self.name!r} has no weights that can be read: {self.weights}: {error.strerror}."
            ) from error

    @property
    def has_weights(self) -> bool:
        """Whether it has a file of weights; without one, it must be trained first."""
        return self.weights.is_file()


def shipped(folder: str) -> Path:
    """The path of a folder that is shipped with the package: 'bundles' or 'sample_data'.

    In a checkout it lies at the top; in a wheel, inside the package.

    Raises:
        BundleError: the folder is missing in both places.
    """
    for path in (_PACKAGE / f"_{folder}", _CHECKOUT / folder):
        if path.is_dir():
            return path
    raise BundleError(
        f"The folder {folder!r} that belongs to lungfield is missing. Install lungfield again from its wheel "
        "or from a complete checkout."
    )


def find_bundle(name: str | Path) -> Bundle:
    """Find a shipped bundle by name, or any bundle by the path of its folder.

    Raises:
        BundleError: no such bundle or folder exists, or the folder is not a bundle.
    """
    root = shipped("bundles") / name if str(name) in BUNDLES else Path(name).expanduser()
    metadata = root / "configs" / "metadata.json"
    if not root.is_dir():
        raise BundleError(
            f"There is no bundle {str(name)!r}. Give the path of a bundle folder, "
            f"or one of: {', '.join(BUNDLES)}."
        )
    if not metadata.is_file() or not (root / "configs" / "inference.yaml").is_file():
        raise BundleError(
            f"{root} is not a bundle: configs/metadata.json or configs/inference.yaml is missing there."
        )
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{metadata} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise BundleError(f"{metadata} does not hold an object.")
    return Bundle(name=root.resolve().name, root=root.resolve(), metadata=content)


def all_bundles() -> list[Bundle]:
    """The shipped bundles, in the order of `BUNDLES`."""
    return [find_bundle(name) for name in BUNDLES]


def require_weights(bundle: Bundle) -> None:
    """Raise `BundleError`, with advice, if a bundle has no file of weights."""
    if bundle.has_weights:
        return
    ready = ", ".join(one.name for one in all_bundles() if one.has_weights)
    train = bundle.root / "configs" / "train.yaml"
    raise BundleError(
        f"The file of weights of the bundle {bundle.name!r} is missing: {bundle.weights}. Either choose a "
        f"bundle that has weights, with --bundle: {ready}. Or train this one: python -m monai.bundle run "
        f"training --config_file {train} --dataset_dir DATA --output_dir RUN; then copy RUN/best_model.pt "
        f"to the path of the missing file. See {bundle.root / 'docs' / 'README.md'}."
    )
