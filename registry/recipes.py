"""Recipes by name: those that Ndogo brings and those in $NDOGO_HOME/recipes; or any file."""

from pathlib import Path

from ndogo.core.errors import unknown
from ndogo.registry.bundles import home
from ndogo.steps.recipe import Recipe, read_recipe
from ndogo.steps.sweep import Sweep, SweepSize, arms, read_sweep

SWEEPS = "sweeps"
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


def sweep_names() -> list[str]:
    """The names of the sweeps that Ndogo brings."""
    return sorted(file.stem for file in (FOLDER / SWEEPS).glob("*.yaml"))


def sweep(name: str) -> Sweep:
    """A sweep by name, or by its file.

    :raises NdogoError: unknown (nearest names suggested), unreadable or impossible.
    """
    files = {known: FOLDER / SWEEPS / f"{known}.yaml" for known in sweep_names()}
    file = Path(name)
    if name not in files and file.suffix not in (".yaml", ".yml"):
        raise unknown("sweep", name, files, where="sweep", otherwise="Or give a .yaml file.")
    return read_sweep(files.get(name, file))


def write_arms(asked: Sweep, size: SweepSize) -> list[str]:
    """Write the recipes of a sweep's arms at a size into the store; their files, which stand for recipes.

    :raises NdogoError: an impossible arm.
    """
    folder = home() / "recipes" / SWEEPS / asked.name
    folder.mkdir(parents=True, exist_ok=True)
    made = {folder / f"{found.name}.yaml": found.text for found in arms(asked, size, recipe).values()}
    for file, text in made.items():
        file.write_text(text, encoding="utf-8")
    return [str(file) for file in made]
