"""Trains, measures and reports what the papers claim; `scripts/reproduce.py` is its command line."""
