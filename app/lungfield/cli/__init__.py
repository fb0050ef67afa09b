"""The command line, one command a file, thin over the Python API."""


def main() -> None:
    """Run the `lungfield` command."""
    from lungfield.cli.main import main as run

    run()


__all__ = ["main"]
