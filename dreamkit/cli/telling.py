"""Commands that say what is there: recipes, doctor, cite."""

from typing import Annotated

import typer
from rich.console import Console

from dreamkit.cli.application import app, explained


@app.command()
def recipes() -> None:
    """List the recipes in the box."""
    from dreamkit.report import recipe_table

    Console().print(recipe_table())


@app.command()
def doctor() -> None:
    """Say what is installed, and which backend each op uses and why."""
    from dreamkit.report import doctor_tables

    for table in doctor_tables():
        Console().print(table)


@app.command()
def cite(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file.")] = "toybox",
) -> None:
    """Print BibTeX for the methods that a recipe uses."""
    from dreamkit.recipe import load_recipe
    from dreamkit.report import bibtex

    with explained():
        print(bibtex(load_recipe(recipe)))
