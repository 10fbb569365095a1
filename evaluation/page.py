"""The report as one HTML file: nothing is loaded from anywhere, and it reads well on paper and on a phone."""

import base64
from pathlib import Path

from ndogo.evaluation.summary import Summary, signed
from ndogo.evaluation.tables import (
    VECTORS_CAPTION,
    caption_of,
    main_table,
    problems_of,
    retention_text,
    score_text,
    vector_table,
)

TEMPLATE = "report.html"
RESULT = " retains "
"""The sentence that says what came out has this word, and leads the page."""


def page(made: Summary, image: bytes) -> str:
    """The whole page of a report's summary, the picture inside it; every text is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "millions": lambda number: f"{number / 1e6:.2f} M",
        "megabytes": lambda number, digits=1: f"{number / 1e6:.{digits}f}",
        "percent": lambda share, digits=1: f"{100 * share:.{digits}f} %",
        "css": _css_text,
        "signed": signed,
        "score": score_text,
        "retention": retention_text,
    }
    heads, body = main_table(made)
    speeds = list(dict.fromkeys(cell for entry in made.entries if entry.cost for cell in entry.cost.speed))
    notes = [f"{name}: {note}" for name, benchmark in made.benchmarks.items() for note in benchmark.notes]
    return templates.get_template(TEMPLATE).render(
        made=made,
        caption=caption_of(made),
        pocket=made.notice,
        lead=[sentence for sentence in made.sentences if RESULT in sentence],
        further=[sentence for sentence in made.sentences if RESULT not in sentence],
        heads=heads,
        body=body,
        vectors=vector_table(made),
        vectors_caption=VECTORS_CAPTION,
        speeds=speeds,
        speed_heads=["batch x length", *(f"{cell}: p50 / p95 ms, rows/s" for cell in speeds)],
        remarks=[*problems_of(made), *notes],
        beside={name: _beside(made, name) for name in made.benchmarks},
        settings=", ".join(f"{key} {value}" for key, value in made.settings.model_dump(mode="json").items()),
        versions=", ".join(f"{name} {version}" for name, version in made.versions.items()),
        image=base64.b64encode(image).decode(),
    )


def _beside(made: Summary, benchmark: str) -> list[str]:
    """The other metrics of a benchmark, model by model."""
    return [
        f"{entry.name}: {metric} {score_text(found)}"
        for entry in made.entries
        if benchmark in entry.scores
        for metric, found in entry.scores[benchmark].others.items()
    ]


def _css_text(text: str) -> str:
    """A text as a style sheet writes it; what is no plain letter or digit by its number."""
    letters = (c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in text)
    return f'"{"".join(letters)}"'
