"""The command line: one file per command, a thin layer over the Python API."""


def main() -> None:
    """Run the `lungfield` command."""
    from lungfield.cli.main import main as run

    run()


__all__ = ["main"]
