"""Pack bundles as zips for MONAI's `download` and `load`, with their checksums.

    python scripts/pack_bundle.py unet -o dist
    python scripts/pack_bundle.py all -o dist --without-weights
    python scripts/pack_bundle.py resnet101_unet -o dist --weights model.pt --weights-url https://.../model.pt

A bundle without weights in its folder is refused, unless one of the last two options is given. The same files
give the same bytes. See docs/model-zoo.md.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import typer
import yaml
from monai.bundle import ConfigParser

from lungfield.atomic import write_whole
from lungfield.bundles import Bundle, all_bundles, find_bundle
from lungfield.bundles.weights import load_weights
from lungfield.errors import BundleError, LungfieldError

WEIGHTS = "models/model.pt"
RANGES = "models/int8.json"
LARGE_FILES = "large_files.yml"
SUMS = "SHA256SUMS"

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

# The files of a bundle's folder that belong to its package.
_TAKEN = re.compile(rf"LICENSE|{LARGE_FILES}|{WEIGHTS}|{RANGES}|(configs|docs)/.*")
_HIDDEN = re.compile(r"(.*/)?(\.|__pycache__/).*")


@dataclass(frozen=True)
class Package:
    """A bundle as a zip in memory.

    Attributes:
        name: `<name>_v<version>.zip`, as MONAI names it.
        content: the bytes of the zip.
        weights: where the weights are, as text.
        left_out: files of the bundle's folder that are no part of the package, without hidden ones.
    """

    name: str
    content: bytes
    weights: str
    left_out: tuple[str, ...]


def remote_weights(bundle: Bundle, file: Path, url: str) -> str:
    """The text of `large_files.yml` for the weights in `file`, published at `url`.

    Raises:
        BundleError: the URL is not one of HTTP, or the file does not hold weights of the bundle's network.
    """
    if not re.match(r"https?://\S+$", url):
        raise BundleError(f"{url!r} is no download URL; give one that begins with https://.")
    _require_that_weights_fit(bundle, file)
    entry = {"path": WEIGHTS, "url": url, "hash_type": "sha256", "hash_val": sha256(file.read_bytes())}
    return yaml.safe_dump({"large_files": [entry]}, sort_keys=False)


def pack(bundle: Bundle, *, large_files: str | None = None, without_weights: bool = False) -> Package:
    """Make a zip of a bundle, with one folder that has the bundle's name.

    Times, owners and order of files are fixed. Files are not compressed: that would save a twelfth, and the
    bytes would depend on the version of zlib.

    Args:
        bundle: the bundle; reading its config can run code.
        large_files: from `remote_weights`, in place of the weights.
        without_weights: pack a bundle that has none, for others to train.

    Raises:
        BundleError: the bundle is not complete, or its weights do not fit its network.
    """
    check(bundle)
    paths = {one.relative_to(bundle.root).as_posix(): one for one in bundle.root.rglob("*") if one.is_file()}
    names = sorted(name for name in paths if not _HIDDEN.fullmatch(name))
    files = {name: paths[name].read_bytes() for name in names if _TAKEN.fullmatch(name)}
    left_out = tuple(name for name in names if name not in files)
    if large_files is not None:
        files.pop(WEIGHTS, None)
        files[LARGE_FILES] = large_files.encode()
    if WEIGHTS in files:
        _require_that_weights_fit(bundle, bundle.weights)
        weights = "with weights"
    elif LARGE_FILES in files:
        weights = "its weights are to be downloaded, as large_files.yml says"
    elif without_weights:
        weights = "WITHOUT WEIGHTS: its users have to train it"
    else:
        raise BundleError(
            f"{bundle.name} has no weights ({bundle.weights}). Train it and put them there, say where others "
            "get them by --weights and --weights-url, or pack it for others to train by --without-weights."
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{bundle.name}/{name}")  # with the earliest date of a zip
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return Package(f"{bundle.name}_v{bundle.version}.zip", buffer.getvalue(), weights, left_out)


def check(bundle: Bundle) -> None:
    """Check the requirements of the model zoo.

    Raises:
        BundleError: a requirement is not met; the message lists all of them.
    """
    wrong = []
    if not re.fullmatch(r"[A-Za-z0-9_]+", bundle.name) or "_v" in bundle.name:
        wrong.append("its name must be letters, digits and '_', without '_v', where the version begins")
    if not (bundle.root / "LICENSE").is_file():
        wrong.append("LICENSE is missing")
    if not re.fullmatch(r"\d+\.\d+\.\d+", bundle.version):
        wrong.append(f"its version {bundle.version!r} in configs/metadata.json is not like 1.2.3")
    if bundle.version not in bundle.metadata.get("changelog", {}):
        wrong.append(f"the changelog in configs/metadata.json does not tell of {bundle.version}")
    if wrong:
        raise BundleError(f"{bundle.root} cannot be packed: {'; '.join(wrong)}.")


def write(packages: list[Package], folder: Path) -> None:
    """Write packages, and the SHA-256 of every package in `folder` as `sha256sum --check` reads it."""
    for package in packages:
        write_whole(folder / package.name, package.content)
    lines = [f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(folder.glob("*_v*.zip"))]
    write_whole(folder / SUMS, "".join(lines).encode())


def sha256(content: bytes) -> str:
    """The SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _require_that_weights_fit(bundle: Bundle, file: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle.inference_config))
    load_weights(parser.get_parsed_content("network_def"), file)


@app.command()
def pack_bundle(
    bundle: str = typer.Argument(help="A shipped bundle's name, the folder of another, or all."),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for the zips and SHA256SUMS."),
    weights: Path | None = typer.Option(
        None, help="The weights that lie at --weights-url; by default the bundle's models/model.pt."
    ),
    weights_url: str | None = typer.Option(None, help="Where others get the weights; the zip has none then."),
    without_weights: bool = typer.Option(False, "--without-weights", help="Pack those that have none, too."),
) -> None:
    """Pack bundles for MONAI's model zoo, or for any place that serves files."""
    if weights is not None and weights_url is None:
        raise typer.BadParameter("needs --weights-url, where others get them", param_hint="--weights")
    if weights_url is not None and bundle == "all":
        raise typer.BadParameter("is for one bundle, not for all", param_hint="--weights-url")
    bundles = all_bundles() if bundle == "all" else [find_bundle(bundle)]
    large = remote_weights(bundles[0], weights or bundles[0].weights, weights_url) if weights_url else None
    packages = [pack(one, large_files=large, without_weights=without_weights) for one in bundles]
    write(packages, output)
    for package in packages:
        size = f"{len(package.content) / 1e6:.1f} MB"
        print(f"{output / package.name}: {size}, {package.weights}, sha256 {sha256(package.content)}")
        if package.left_out:
            print(f"  left out: {', '.join(package.left_out)}")
    print(output / SUMS)


def main() -> None:
    """Run the command line; exit 2 with one message where a bundle cannot be packed."""
    try:
        app()
    except LungfieldError as error:
        print(f"pack_bundle: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
