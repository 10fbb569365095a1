"""Figures in the pages are of kept results: `python -m ndogo.figures RUN NAME` keeps a run, `make docs` writes it into the pages.

A page has blocks such as `<!-- result: first-run steps -->` to `<!-- end -->`. What stands between is made from
docs/results/first-run.json, and a test fails where it is not.
"""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ndogo.core.errors import NdogoError

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
BLOCK = re.compile(r"(<!-- result: (\S+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def keep(run: str, name: str) -> Path:
    """Keep what a finished run measured, by its id or its name (the newest of that name), for the pages.

    :raises NdogoError: there is no such finished run.
    """
    from ndogo.registry.bundles import open_store
    from ndogo.tasks.run_record import RUNS, RunRecord
    from ndogo.tasks.table import cells

    records = [r for r in open_store().read_records(RUNS, RunRecord) if run in (r.id, r.name) and r.report]
    record = max(records, key=lambda one: one.finished, default=None)
    if record is None or record.report is None:
        raise NdogoError(f"No finished run is called `{run}`.", cure="`ndogo compare LANGUAGE` lists them.")
    heads, body = cells(record)
    kept = {
        "run": record.name,
        "day": datetime.fromtimestamp(record.finished, UTC).date().isoformat(),
        "commit": record.commit,
        "steps": {"heads": heads, "body": body},
        "sentences": record.report.sentences,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def written(text: str) -> str:
    """A page, every block made anew from its result.

    :raises FileNotFoundError: a result that is not kept.
    """
    return BLOCK.sub(lambda found: f"{found[1]}{shown(found[2], found[3])}\n{found[4]}", text)


def shown(name: str, part: str) -> str:
    """One part of a kept result, as Markdown: its steps or its sentences."""
    if name == "papers":
        from ndogo import papers_page

        return papers_page.shown(part)
    kept = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    if part == "steps":
        return f"```text\n{_aligned(kept['steps'])}\n```"
    assert part == "sentences", f"no result has {part}"
    return "\n".join(f"- {sentence}" for sentence in kept["sentences"])


def pages() -> list[Path]:
    """README and every page that has such a block."""
    candidates = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in candidates if BLOCK.search(page.read_text(encoding="utf-8"))]


def _aligned(steps: dict[str, Any]) -> str:
    """The table as the terminal shows it at the end of a run."""
    rows = [steps["heads"], *steps["body"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        " ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    rule = "─" * len(lines[0])
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:]])


if __name__ == "__main__":
    sys.stdout.write(f"{keep(*sys.argv[1:3])}\n")
