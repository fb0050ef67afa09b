"""Which bundles the server offers."""

from __future__ import annotations

from lungfield.bundles import Bundle, all_bundles, find_bundle
from lungfield.errors import BundleError


def chosen_bundles(names: str) -> list[Bundle]:
    """The bundles of a comma-separated list of names and folders; all shipped ones with weights for ''.

    Raises:
        BundleError: one is missing or has no weights, or two have one name.
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
        raise BundleError("Two bundles have one name; rename the folder of one.")
    return bundles
