"""Find, load, run and export MONAI bundles. Importing this package does not import torch."""

from lungfield.bundles.registry import BUNDLES, DEFAULT_BUNDLE, Bundle, all_bundles, find_bundle, shipped

__all__ = ["BUNDLES", "DEFAULT_BUNDLE", "Bundle", "all_bundles", "find_bundle", "shipped"]
