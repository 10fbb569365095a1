"""The report as one HTML file: nothing is loaded from anywhere, and it reads well on paper and on a phone."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ndogo.evaluation.report import kept_text, problems_of, rows, score_text

STYLE = """
:root { color-scheme: light dark; --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --paper: #ffffff; --hint: #f8fafc;
  --good: #0f766e; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --soft: #94a3b8; --line: #334155; --paper: #0f172a;
  --hint: #1e293b; --good: #2dd4bf; --bad: #f87171; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
.lead { font-size: 1.1rem; margin: .3rem 0; } .bad { color: var(--bad); font-weight: 600; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%;
  font-size: .9rem; }
th, td { padding: .38rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-size: .82rem; color: var(--soft); font-weight: 600; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: normal; } tr.student td { background: var(--hint); font-weight: 600; }
.better { color: var(--good); } .worse { color: var(--bad); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; border-radius: 6px; background: #fff; }
figcaption, small { color: var(--soft); font-size: .85rem; } ul { padding-left: 1.2rem; }
"""


def page(made: Mapping[str, Any], image: bytes) -> str:
    """The whole page of a report's summary, the picture inside it; every text is escaped."""
    parts = [
        f"<h1>{escape(made['title'])}</h1>",
        *(_sentence(text) for text in made["sentences"]),
        "<h2>All models</h2>",
        _main_table(made),
        f"<small>Points: mean ± sample standard deviation (number of seeds); mode {escape(made['settings']['mode'])}. "
        "Kept: share of the untouched teacher's score, paired bootstrap over test rows and seeds.</small>",
        "<h2>Size against quality</h2>",
        f'<figure><img alt="Parameters against mean score of every model" src="data:image/png;base64,'
        f'{base64.b64encode(image).decode()}"><figcaption>The bar is the 95 % interval of the difference from the '
        "untouched teacher.</figcaption></figure>",
        *_comparisons(made),
        *_language_models(made),
        *_costs(made),
        *_remarks(made),
        _footer(made),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(made['title'])}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _sentence(text: str) -> str:
    return f'<p class="lead{" bad" if "NOT" in text else ""}">{escape(text)}</p>'


def _table(heads: Sequence[str], body: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    marked = classes or [""] * len(body)
    lines = "".join(
        f'<tr class="{mark}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for mark, cells in zip(marked, body, strict=True)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _main_table(made: Mapping[str, Any]) -> str:
    heads, body = rows(made)
    lines = [[escape(cell).replace(" ± ", "&nbsp;± ") for cell in cells] for cells in body]
    lines = [[_two_lines(cell) for cell in cells] for cells in lines]
    return _table([escape(head) for head in heads], lines, [entry["role"] for entry in made["entries"]])


def _two_lines(cell: str) -> str:
    """An interval, and what it means, under its number."""
    number, bracket, interval = cell.partition(" [")
    return f"{number}<br><small>[{interval}</small>" if bracket and "%" in number else cell


def _comparisons(made: Mapping[str, Any]) -> list[str]:
    """One table per student: every benchmark against every model it is compared with."""
    parts = []
    names = list(made["benchmarks"])
    for entry in made["entries"]:
        if entry["role"] != "student" or not entry["against"]:
            continue
        body = []
        for found in entry["against"].values():
            each = [found["benchmarks"].get(name) for name in names]
            cells = [_difference(one) if one else "-" for one in [*each, found["mean"]]]
            body.append([escape(found["name"]), *cells, _two_lines(escape(kept_text(found["mean"])))])
        parts += [
            f"<h2>{escape(entry['name'])} against the others</h2>",
            _table(["compared with", *(escape(name) for name in names), "mean", "kept [95 %]"], body),
            "<small>Difference in points with its 95 % interval; coloured only where the interval excludes 0.</small>",
        ]
    return parts


def _difference(found: Mapping[str, Any]) -> str:
    low, high = found["difference_interval"]
    mark = "" if found["verdict"] == "no difference" else found["verdict"]
    return f'<span class="{mark}">{100 * found["difference"]:+.1f}</span> <small>[{100 * low:+.1f}, {100 * high:+.1f}]</small>'


def _language_models(made: Mapping[str, Any]) -> list[str]:
    measured = [(entry["name"], entry["language_model"]) for entry in made["entries"] if entry["language_model"]]
    if not measured:
        return []
    body = [
        [
            escape(name),
            f"{found['bits_per_byte']:.3f}",
            _or_dash(found.get("dropped_columns_bits_per_byte"), ".3f"),
            f"{100 * found['word_accuracy']:.1f} %",
            f"{found['pieces_per_word']:.2f}",
            f"{100 * found['words_with_unknown_pieces']:.2f} %",
        ]
        for name, found in measured
    ]
    heads = [
        "model",
        "bits per byte",
        "of it dropped columns",
        "whole words right",
        "pieces per word",
        "words with unknown",
    ]
    return [
        "<h2>As a language model, on held-out text</h2>",
        _table(heads, body),
        f"<small>{measured[0][1]['words']} whole words masked, their pieces scored left to right. Dropped columns: what the "
        "teacher would gain by merely not being able to guess the pieces that were trimmed away.</small>",
    ]


def _costs(made: Mapping[str, Any]) -> list[str]:
    measured = [(entry["name"], entry["cost"]) for entry in made["entries"] if entry["cost"]]
    if not measured:
        return []
    sizes = [
        [
            escape(name),
            *(f"{cost['parameters'][part] / 1e6:.2f} M" for part in ("embeddings", "layers", "head", "total")),
            *(f"{cost['bytes'][kind] / 1e6:.1f}" for kind in ("fp32", "fp16", "int8", "disk")),
            f"{cost['memory']['peak'] / 1e6:.0f}",
            f"{(cost['memory']['peak'] - cost['memory']['idle']) / 1e6:.0f}",
        ]
        for name, cost in measured
    ]
    cells = list(dict.fromkeys(cell for _, cost in measured for cell in cost["speed"]))
    speeds = [[escape(name), *(_speed(cost["speed"].get(cell)) for cell in cells)] for name, cost in measured]
    heads = [
        "model",
        "embeddings",
        "layers",
        "head",
        "total",
        "MB fp32",
        "fp16",
        "int8",
        "on disk",
        "peak MB",
        "of it model",
    ]
    return [
        "<h2>What it costs</h2>",
        _table(heads, sizes),
        "<p></p>",
        _table(["batch x length", *(f"{escape(cell)}: p50 / p95 ms, rows/s" for cell in cells)], speeds),
        "<small>Peak: resident memory of a fresh process that runs one row of 128 pieces; of it model: beyond the libraries. "
        "Speed: the bare encoder on the CPU; models that were timed together took turns.</small>",
    ]


def _speed(found: Mapping[str, Any] | None) -> str:
    return f"{found['p50_ms']:.1f} / {found['p95_ms']:.1f}, {found['rows_per_second']:.0f}" if found else "-"


def _remarks(made: Mapping[str, Any]) -> list[str]:
    told = [f"<li>{escape(problem)}</li>" for problem in problems_of(made)]
    for name, benchmark in made["benchmarks"].items():
        told += [f"<li>{escape(name)}: {escape(note)}</li>" for note in benchmark["notes"]]
    return ["<h2>Remarks on the data</h2>", f"<ul>{''.join(told)}</ul>"] if told else []


def _footer(made: Mapping[str, Any]) -> str:
    shown = [
        [
            escape(name),
            escape(b["metric"]),
            *(f"{b['rows'][split]:,}" for split in ("train", "dev", "test")),
            _each(made, name),
        ]
        for name, b in made["benchmarks"].items()
    ]
    settings = ", ".join(f"{key} {value}" for key, value in made["settings"].items())
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return (
        "<h2>How it was judged</h2>"
        + _table(["benchmark", "metric", "train", "dev", "test", "beside it, per model"], shown)
        + f"<p class='soft'><small>Settings: {escape(settings)}.<br>Versions: {escape(versions)}.</small></p>"
    )


def _each(made: Mapping[str, Any], name: str) -> str:
    """The other metrics of a benchmark, model by model."""
    told = [
        f"{escape(entry['name'])}: {escape(metric)} {escape(score_text(found))}"
        for entry in made["entries"]
        if name in entry["scores"]
        for metric, found in entry["scores"][name]["others"].items()
    ]
    return f'<div style="text-align:left">{"<br>".join(told) or "-"}</div>'


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
