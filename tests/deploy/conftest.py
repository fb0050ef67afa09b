"""Lets the tests import the example application's operators, as the application does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "deploy"))
