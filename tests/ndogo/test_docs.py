"""Generated pages are fresh, and the README's commands exist."""

import re
from pathlib import Path

import typer

from ndogo.cli import app
from ndogo.docs import COMMANDS, DEPLOYMENTS, commands_page, deployments_file

ROOT = Path(__file__).parents[2]


def test_the_commands_page_is_what_the_commands_say():
    assert COMMANDS.read_text(encoding="utf-8") == commands_page(), "run `make docs`"


def test_the_list_of_deployments_is_what_is_served():
    assert DEPLOYMENTS.read_text(encoding="utf-8") == deployments_file(), "run `make docs`"


def test_every_command_of_the_readme_exists_with_its_options():
    group = typer.main.get_command(app)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    ndogo (.+)$", text, re.M)
    assert len(lines) >= 8
    for line in lines:
        words = line.split()
        command = group.commands[words[0]]
        if words[0] == "languages":
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {w for w in words if w.startswith("--")} <= known, line


def test_every_make_verb_of_the_readme_exists():
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    used = set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert used <= verbs
    assert len(verbs) <= 11
