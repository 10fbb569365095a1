"""`make docs`: what is generated, so that it says what the code does. Tests fail when it is stale."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = ROOT / "docs" / "commands.md"
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
    parts = ["# Commands\n\nMade by `make docs` from the commands' own help."]
    for words in names:
        shown = runner.invoke(app, [*words, "--help"], env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        parts.append(f"## ndogo {' '.join(words)}\n\n```\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def deployments_file() -> str:
    """prefect.yaml, its list of deployments made anew from those that `ndogo serve` serves."""
    from ndogo.flows.deployments import COMPARED, NIGHTLY
    from ndogo.registry.languages import languages

    head, found, rest = DEPLOYMENTS.read_text(encoding="utf-8").partition(LIST)
    assert found, f"{DEPLOYMENTS} has no list of deployments"
    lines = [f"{head}{found}{rest.splitlines()[0]}"]
    for name, entry in languages().items():
        lines += [
            "  - <<: *nightly",
            f"    name: {name}",
            f"    parameters: {{language: {name}}}",
            f'    schedules: [{{cron: "{NIGHTLY}", timezone: {entry.timezone}, slug: nightly}}]',
        ]
    asked = ", ".join(f"{key}: [{', '.join(map(str, values))}]" for key, values in COMPARED.items())
    lines += ["  - <<: *where", "    name: recipes", "    entrypoint: ndogo/flows/sweep.py:sweep", "    tags: [ndogo]"]
    return "\n".join([*lines, f"    parameters: {{{asked}}}"]) + "\n"


def main() -> None:
    """Write them."""
    COMMANDS.write_text(commands_page(), encoding="utf-8")
    DEPLOYMENTS.write_text(deployments_file(), encoding="utf-8")


if __name__ == "__main__":
    main()
