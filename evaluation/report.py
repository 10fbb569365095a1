"""What was measured, for a person: one JSON, one table, one picture, one page."""

from collections.abc import Sequence
from pathlib import Path

from ndogo.evaluation.page import page
from ndogo.evaluation.summary import Entry, Summary, summary
from ndogo.evaluation.tables import markdown


def write_report(
    title: str, entries: Sequence[Entry], out: Path, notice: str = "", told: Sequence[str] = ()
) -> Summary:
    """Write report.json, report.md, report.png and report.html (with the picture inside) into `out`; return the summary.

    `told`: sentences of the caller's, before the report's own.
    """
    from ndogo.evaluation.picture import picture

    made = summary(title, entries, notice)
    made = made.model_copy(update={"sentences": [*told, *made.sentences]})
    image = picture(made)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(made.model_dump_json(indent=1), encoding="utf-8")
    (out / "report.md").write_text(markdown(made), encoding="utf-8")
    (out / "report.png").write_bytes(image)
    (out / "report.html").write_text(page(made, image), encoding="utf-8")
    return made
