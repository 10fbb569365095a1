"""Recipes by name: those that Ndogo brings and those in $NDOGO_HOME/recipes; or any file."""

from pathlib import Path

from ndogo.core.errors import unknown
from ndogo.registry.bundles import home
from ndogo.steps.recipe import Recipe, read_recipe

FOLDER = Path(__file__).parent.parent / "recipes"


def recipe_files() -> dict[str, Path]:
    """Every recipe that has a name; one of the user's own stands before one that Ndogo brings."""
    return {file.stem: file for folder in (FOLDER, home() / "recipes") for file in sorted(folder.glob("*.yaml"))}


def recipe_names() -> list[str]:
    """The names of all recipes."""
    return sorted(recipe_files())


def recipe(name: str) -> Recipe:
    """A recipe by name, or by its file.

    :raises NdogoError: unknown (nearest names suggested), unreadable or impossible.
    """
    files = recipe_files()
    if name in files:
        return read_recipe(files[name])
    file = Path(name)
    if file.suffix in (".yaml", ".yml"):
        return read_recipe(file)
    raise unknown("recipe", name, files, where="recipe", otherwise="Or give a .yaml file.")
