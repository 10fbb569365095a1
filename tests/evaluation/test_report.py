import re

import pytest
from rich.console import Console

from ndogo.core.errors import NdogoError
from ndogo.evaluation import ROLES, Entry, Summary, markdown, rich_table, summary, write_report
from ndogo.evaluation.records import Cost, LanguageModelScores
from tests.browser import chromium, opened, served
from tests.evaluation.test_retention import changed, coin, record


def entry(name, role, right, parameters=1_000_000, problems=None):
    made = changed(record(right, model=name), std=0.01, notes=["line 3: odd <b>"])
    made = made.model_copy(update={"parameters": parameters, "problems": problems or {}})
    return Entry(name, role, made, size_mb=parameters * 4 / 1e6 + 0.5)


@pytest.fixture
def entries():
    teacher = coin(0.85)
    student = teacher.copy()
    student[:, :40] = 0
    return [
        entry("teacher", "original", teacher, 10_000_000),
        entry("small", "student", student),
        entry("blank", "untrained", coin(0.3, seed=5)),
        entry("trim", "trimmed", teacher, 5_000_000, {"ner": "file, line 3\n  where: x"}),
    ]


def test_a_baseline_that_is_better_is_told_first(entries):
    made = summary("Swahili", entries)
    assert "small does NOT beat the teacher with trimming alone (trim, 5.0 times its size): worse" in made.sentences[0]
    assert any(s.startswith("small beats the same shape, untrained: +") for s in made.sentences)
    assert "with 10.0 times fewer parameters" in made.sentences[1]
    assert "retains" in made.sentences[1]
    assert Summary.model_validate_json(made.model_dump_json()) == made


def test_the_table_shows_mean_deviation_and_seeds(entries):
    text = markdown(summary("Swahili", entries))
    score = 100 * entries[0].evaluation.benchmarks["pos"].mean
    assert f"| teacher | original | 10.00 M | - | 40.5 | {score:.1f} | - | - | {score:.1f} ± 1.0 (2) | - |" in text
    assert "mean, fine-tuned" in text and "The mean is over pos." in text and "one seed of compression" in text
    assert "no difference" in text, "trimming alone lost nothing here"
    assert "- ner was not judged (trim): file, line 3 where: x" in text
    console = Console(width=250, record=True)
    console.print(rich_table(summary("Swahili", entries)))
    assert f"{score:.1f} ± 1.0 (2)" in console.export_text()


def test_a_mean_without_one_of_the_benchmarks_is_not_comparable_and_never_better(entries):
    """Dropping a weak benchmark would raise the mean of the others."""
    teacher, student, *_ = entries
    weak = teacher.evaluation.benchmarks["pos"].model_copy(update={"mean": 0.1})
    both = {**teacher.evaluation.benchmarks, "ner": weak}
    judged = teacher.evaluation.model_copy(update={"benchmarks": both})
    made = summary("Swahili", [Entry("teacher", "original", judged, parameters=10_000_000), student])
    assert made.entries[1].mean is None and made.entries[0].mean is not None
    assert "NOT comparable on the mean: ner was not judged for both" in made.sentences[0]
    assert "| not comparable | not comparable |" in markdown(made)


def test_the_gap_closed_stands_beside_retention_and_names_its_floor(entries):
    cut = entry("stub", "cut", coin(0.4, seed=9))
    made = summary("Swahili", [*entries, cut])
    gap = made.entries[1].gap
    assert gap is not None and gap.floor == "stub", "the best of the baselines at the student's size"
    assert any(s.startswith(f"small closes {gap.closed:.0%} of the gap between stub (") for s in made.sentences)
    assert f"| {gap.closed:.0%} above stub |" in markdown(made)
    alone = summary("Swahili", entries[:2])
    assert alone.entries[1].gap is None and "| not measured |" in markdown(alone)


def test_every_figure_says_how_it_was_judged(entries):
    made = summary("Swahili", entries)
    assert all("fine-tuned" in sentence for sentence in made.sentences if "gap" not in sentence)
    assert "(pos; fine-tuned) with 10.0 times fewer parameters" in "".join(made.sentences)


def test_a_rate_at_the_edge_is_told(entries):
    told = changed(entries[1].evaluation, remarks=["the chosen learning rate 0.0008 is the highest that was tried"])
    made = summary("Swahili", [entries[0], Entry("small", "student", told)])
    assert "- small, pos: the chosen learning rate 0.0008 is the highest that was tried" in markdown(made)


def test_the_adapted_teacher_has_a_column_of_its_own(entries):
    text = markdown(summary("Swahili", [*entries, entry("adapted", "adapted", coin(0.9, seed=2), 10_000_000)]))
    heads = text.splitlines()[0]
    assert "retention of original [95 %] | retention of adapted [95 %] | gap closed" in heads
    assert "retention of adapted" not in markdown(summary("Swahili", entries))


def test_the_page_stands_alone_and_escapes_what_it_shows(entries, tmp_path):
    named = [*entries, entry("<script>x</script>", "cut", coin(0.5))]
    made = write_report("Swahili & co", named, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "odd &lt;b&gt;" in page
    sources = re.findall(r'(?:src|href)="([^"]{1,40})', page)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert Summary.model_validate_json((tmp_path / "report.json").read_text()) == made
    assert (tmp_path / "report.md").read_text() == markdown(made)


def test_cost_and_language_model_are_shown_where_they_were_measured(entries, tmp_path):
    cost = Cost.model_validate(
        {
            "parameters": {"embeddings": 600_000, "layers": 300_000, "head": 100_000, "total": 1_000_000},
            "bytes": {"fp32": 4_000_000, "fp16": 2_000_000, "int8": 1_100_000, "disk": 5_500_000},
            "memory": {"idle": 300_000_000, "peak": 345_000_000},
            "speed": {"1x32": {"p50_ms": 12.3, "p95_ms": 15.6, "rows_per_second": 81.0, "runs": 30}},
        }
    )
    quality = LanguageModelScores(
        bits_per_byte=1.2346,
        token_counts_bits_per_byte=0.0421,
        dropped_columns_bits_per_byte=0.0678,
        word_accuracy=0.25,
        words=77,
        bytes=400,
        tokens=115,
        tokens_per_word=1.5,
        words_with_unknown_tokens=0.0,
    )
    teacher, student, *_ = entries
    judged = student.evaluation.model_copy(update={"language_model": quality})
    measured = Entry(student.name, student.role, judged, cost, ratio_trimmed=1.6)
    made = write_report("Swahili", [teacher, measured], tmp_path)
    page = (tmp_path / "report.html").read_text()
    for shown in (
        "12.3 / 15.6, 81",
        "10.0x (1.6x)",
        "1.235",
        "0.042",
        "0.068",
        "25.0 %",
        "77 whole words",
        "0.60 M",
        "345",
        "45",
        "5.5",
    ):
        assert shown in page, shown
    assert "| 1.235 |" in markdown(made)
    without = write_report("Swahili", [teacher], tmp_path)
    assert "What it costs" not in (tmp_path / "report.html").read_text() and not without.sentences


def test_a_report_needs_entries_with_names_of_their_own(entries):
    with pytest.raises(NdogoError, match="each name once"):
        summary("x", [entries[0], entries[0]])
    with pytest.raises(NdogoError, match="at least one entry"):
        summary("x", [])


def test_the_result_leads_and_no_difference_is_not_red(entries, tmp_path):
    alike = entry("alike", "cut", coin(0.85))
    student = Entry("small", "student", alike.evaluation.model_copy(update={"model": "small"}))
    write_report("Swahili", [entries[0], student, alike], tmp_path, notice="A <toy> world.")
    page = (tmp_path / "report.html").read_text()
    shown = page[page.index("<h1>") : page.index("<h2>")]
    assert "A &lt;toy&gt; world." in shown
    assert shown.index("small retains") < shown.index("No difference is seen between small and")
    assert "NOT" not in shown
    assert 'class="bad"' not in shown
    write_report("Swahili", entries, tmp_path)
    worse = (tmp_path / "report.html").read_text()
    assert (
        re.search(r'class="bad">small does NOT beat [^<]*: worse, ', worse) and "notice" not in worse.split("<body>")[1]
    )


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_nothing_is_clipped_on_a_laptop_and_on_a_phone(entries, tmp_path):
    adapted = entry("a-teacher-of-a-long-name", "adapted", coin(0.9, seed=2), 10_000_000)
    write_report("Swahili", [*entries, adapted], tmp_path / "site")
    frames = [f'<iframe src="report.html" style="width:{width}px;height:900px"></iframe>' for width in (390, 1280)]
    (tmp_path / "site" / "frames.html").write_text("".join(frames))
    windows = "[...document.querySelectorAll('iframe')].map(frame => frame.contentWindow)"
    ready = f"{windows}.every(w => w.document.readyState === 'complete' && w.document.querySelector('figcaption'))"
    right_of = "element.getClientRects().length && element.getBoundingClientRect().right > w.innerWidth + 1"
    clipped = f"""{windows}.map(w => [...w.document.querySelectorAll('body *')]
        .filter(element => {right_of}).map(element => element.outerHTML.slice(0, 80)))"""
    with served(tmp_path / "site") as address, opened(f"{address}frames.html", tmp_path / "browser") as page:
        page.wait(f"{windows}.length === 2 && {ready}")
        assert page.run(clipped) == [[], []]


def test_every_role_has_a_look_in_the_picture():
    from ndogo.evaluation.picture import LOOKS

    assert set(LOOKS) == set(ROLES) and len(set(LOOKS.values())) == len(ROLES)


def test_labels_of_models_that_are_alike_do_not_lie_on_each_other(entries):
    from matplotlib.figure import Figure

    from ndogo.evaluation.picture import _move_labels_apart

    figure = Figure(figsize=(8, 4.8))
    axes = figure.add_subplot()
    for name in ("first", "second", "third"):
        axes.annotate(name, (0.5, 0.5), xytext=(8, 5), textcoords="offset points")
    _move_labels_apart(figure, axes)
    boxes = [label.get_window_extent() for label in axes.texts]
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[at + 1 :])
