"""Recipes by name: those that Ndogo brings, or a file of the user's."""

from pathlib import Path

from core.errors import unknown
from core.recipes import Recipe, read_recipe

FOLDER = Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """The names of the recipes that Ndogo brings."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def recipe(name: str) -> Recipe:
    """A recipe by name, or by its file.

    :raises NdogoError: unknown (nearest names suggested), unreadable or impossible.
    """
    if name in recipe_names():
        return read_recipe(FOLDER / f"{name}.yaml")
    file = Path(name)
    if file.suffix in (".yaml", ".yml"):
        return read_recipe(file)
    raise unknown("recipe", name, recipe_names(), where="recipe", otherwise="Or give a .yaml file.")
