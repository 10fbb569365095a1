"""The login of the Prefect server of one machine: made once, kept where only its owner reads it, found by Prefect itself.

It lies in a profile file of Prefect's, to which the tracked prefect.toml points; so the command line, the runner and
every notebook in this folder show it without being told.
"""

import os
import secrets
import tomllib
from pathlib import Path

PROFILES = Path("prefect") / "login.toml"
"""Below the store's folder; prefect.toml names the same file."""
NAME = "ndogo"
KEY = "PREFECT_API_AUTH_STRING"


def file(folder: Path) -> Path:
    """Where the login of a store's folder lies."""
    return folder / PROFILES


def login(folder: Path) -> str:
    """The login `user:password`, made at the first call; the file is the owner's alone (mode 600)."""
    if known := read(folder):
        file(folder).chmod(0o600)
        return known
    made = f"{NAME}:{secrets.token_urlsafe(18)}"
    text = f'''# Made by `ndogo serve`. Whoever reads this may run code through Prefect.
active = "{NAME}"

[profiles.{NAME}]
{KEY} = "{made}"
'''
    place = file(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".draft-{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.rename(place)
    return made


def read(folder: Path) -> str:
    """The login, or nothing where none was made or the file cannot be read."""
    try:
        found = tomllib.loads(file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(found.get("profiles", {}).get(NAME, {}).get(KEY, ""))
