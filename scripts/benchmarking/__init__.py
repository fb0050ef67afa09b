"""Measures how fast radiographs are segmented, and why; `scripts/benchmark.py` is its command line."""
