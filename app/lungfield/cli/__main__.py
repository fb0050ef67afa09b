"""`python -m lungfield.cli`, the same as `lungfield`."""

from lungfield.cli import main

main()
