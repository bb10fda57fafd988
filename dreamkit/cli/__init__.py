"""The command line: reads options, shows `Step`s, turns errors into one paragraph. No logic of its own."""

from dreamkit.cli.application import app

from dreamkit.cli import making, viewing, judging, teaching, telling  # isort: skip  (each adds its commands; --help keeps this order)

__all__ = ["app", "judging", "main", "making", "teaching", "telling", "viewing"]


def main() -> None:
    """Entry point of the `dreamkit` command."""
    app()
