"""`make docs`: what is generated, so that it says what the code does, and then the site. Tests fail when it is stale."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"
COMMANDS, KEYS, MLFLOW = PAGES / "commands.md", PAGES / "keys.md", PAGES / "mlflow.md"
DEPLOYMENTS = ROOT / "prefect.yaml"
LIST = "\ndeployments:"
"""Where the generated end of prefect.yaml begins."""


def commands_page() -> str:
    """Every command's own help, as Markdown."""
    os.environ["COLUMNS"] = "100"
    import typer
    from typer.testing import CliRunner

    from ndogo.cli import app

    runner = CliRunner()
    group = typer.main.get_command(app)
    named = sorted(group.commands)  # type: ignore[attr-defined]  # it is a group
    names: list[list[str]] = [[], *([name] for name in named), ["languages", "add"]]
    parts = [
        "# Commands\n\nMade by `make docs` from the commands' own help.\n\nYou will learn every command and every option."
    ]
    for words in names:
        shown = runner.invoke(app, [*words, "--help"], env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        parts.append(f"## {' '.join(['ndogo', *words])}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def deployments_file() -> str:
    """prefect.yaml, its list of deployments made anew from those that `ndogo serve` serves."""
    from ndogo.flows.deployments import COMPARED, NIGHTLY
    from ndogo.registry.languages import languages

    head, found, rest = DEPLOYMENTS.read_text(encoding="utf-8").partition(LIST)
    assert found, f"{DEPLOYMENTS} has no list of deployments"
    lines = [f"{head}{found}{rest.splitlines()[0]}"]
    for name, entry in languages().items():
        nightly = f'{{cron: "{NIGHTLY}", timezone: {entry.timezone}, slug: nightly}}' if entry.nightly else ""
        lines += [
            "  - <<: *nightly",
            f"    name: {name}",
            f"    parameters: {{language: {name}}}",
            f"    schedules: [{nightly}]",
        ]
    asked = ", ".join(f"{key}: [{', '.join(map(str, values))}]" for key, values in COMPARED.items())
    lines += ["  - <<: *where", "    name: recipes", "    entrypoint: ndogo/flows/sweep.py:sweep", "    tags: [ndogo]"]
    return "\n".join([*lines, f"    parameters: {{{asked}}}"]) + "\n"


def build_site(folder: Path) -> None:
    """Build the site, which must not give one warning, out of a copy of its pages; nothing is fetched.

    :raises subprocess.CalledProcessError: it gave one, or Zensical is not installed (`make setup` does that).
    """
    with tempfile.TemporaryDirectory() as work:
        shutil.copy(ROOT / "zensical.toml", work)
        shutil.copytree(PAGES, Path(work) / PAGES.name)
        subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=work, check=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(work) / "site", folder)


def main() -> None:
    """Write them, and build the site."""
    from ndogo.figures import pages, written
    from ndogo.reference import keys_page, mlflow_page

    COMMANDS.write_text(commands_page(), encoding="utf-8")
    KEYS.write_text(keys_page(), encoding="utf-8")
    MLFLOW.write_text(mlflow_page(), encoding="utf-8")
    DEPLOYMENTS.write_text(deployments_file(), encoding="utf-8")
    for page in pages():
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
    build_site(ROOT / "site")


if __name__ == "__main__":
    main()
