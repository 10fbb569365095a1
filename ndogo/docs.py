"""`make docs`: the generated pages, so that what they say is what the code does. A test fails when they are stale."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = ROOT / "docs" / "commands.md"


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


def main() -> None:
    """Write the pages."""
    COMMANDS.write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
