"""Train and evaluate the networks of the papers, and report; `scripts/reproduce.py` is the command line."""
