"""A run as a table: one row per step, short enough for four benchmarks in 80 characters."""

from ndogo.core import markdown
from ndogo.core.download import SIZE_TYPE
from ndogo.evaluation.summary import MODES
from ndogo.tasks.run_record import RunRecord, mode_of

SHORT = {"bits_per_byte": "bits/B", "word_accuracy": "words"}
"""Heads of the language-model columns: bits per byte, and the share of whole words guessed."""
WIDEST = 6
"""Characters of a benchmark's name in the table's head."""


def table(record: RunRecord) -> str:
    """A run as a Markdown table: one row per step, scores in points, language-model quality in bits per byte."""
    shown = markdown.table(*cells(record), left=1)
    return "\n".join([shown, "", legend(record), *(["", record.notice] if record.notice else [])])


def legend(record: RunRecord) -> str:
    """What the columns of the table are."""
    names, mode = benchmarks_of(record), mode_of(record)
    return (
        f"MB: weights as {SIZE_TYPE} and tokenizer. Ratio: of the teacher's parameters. "
        f"Score: mean of {', '.join(names)}, {MODES[mode]}; - where one of them was not judged, so that it is not comparable."
    )


def benchmarks_of(record: RunRecord) -> list[str]:
    """Every benchmark that a model of the run was judged on."""
    return list(dict.fromkeys(name for judged in record.evaluations.values() for name in judged.benchmarks))


def cells(record: RunRecord) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table, short enough for four benchmarks in 80 characters."""
    every = benchmarks_of(record)
    language = [name for name in SHORT if any(name in judged.metrics for judged in record.evaluations.values())]
    names = [*language, "score", *sorted(every)]
    body = []
    for name in record.steps:
        sizes, judged = record.sizes(name), record.evaluations.get(name)
        scores = dict(judged.metrics) if judged else {}
        if judged and set(judged.benchmarks) != set(every):
            del scores["score"]
        missing = "-" if judged else ""
        shown = [_shown(n, scores[n]) if n in scores else missing for n in names]
        millions, ratio = f"{sizes.params / 1e6:.2f}M", f"{sizes.compression_ratio:.1f}x"
        megabytes = sizes.found().get("file_mb", sizes.size_mb)  # of an export: its default file
        body.append([name, millions, f"{megabytes:.1f}", ratio, *shown])
    return ["step", "params", "MB", "ratio", *(SHORT.get(n, n[:WIDEST]) for n in names)], body


def _shown(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "bits_per_byte" else f"{100 * value:.1f}"
