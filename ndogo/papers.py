"""What the sweeps of recipes/sweeps/ found: `python -m ndogo.papers` keeps it, `make docs` writes it into docs/papers.md.

Of every sweep whose small runs are in the store, as its file says now, the answer is kept in docs/results/papers.json, beside
those of sweeps that this store does not have; pictures are drawn from that file. Verdicts come from the numbers.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ndogo.core.frozen import Frozen
from ndogo.evaluation.records import Interval
from ndogo.steps.sweep import TRAININGS

if TYPE_CHECKING:
    import numpy as np

    from ndogo.evaluation import Evaluation
    from ndogo.registry.bundles import Store
    from ndogo.steps.sweep import Sweep
    from ndogo.tasks.run_record import RunRecord

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "docs" / "results" / "papers.json"
FEWEST_LANGUAGES = 5
"""From so many languages the loss is set against how much text the teacher has read of each."""
DRAWS = 2000

Verdict = Literal["same direction", "other direction", "undecided"]


class Arm(Frozen):
    """One arm in one language, over its seeds."""

    arm: str
    language: str
    params: int
    size_mb: float
    tokens: int
    """What its last training read; 0 where nothing was trained."""
    score: float
    """Mean of the benchmarks."""
    retention: float
    """Of the untouched teacher's."""
    interval: Interval
    benchmarks: tuple[str, ...]
    bits_per_byte: float
    saved: float | None
    """Bits per byte fewer than the untouched teacher's; None where the head was not taught."""
    saved_interval: Interval | None


class Pair(Frozen):
    """Two arms of which the claim says that the first is better: by how much it is, over all languages."""

    better: str
    worse: str
    difference: float
    interval: Interval
    verdict: Verdict


class Answer(Frozen):
    """What the small runs of one sweep found."""

    day: str
    commit: str
    languages: tuple[str, ...]
    seeds: int
    tokens: int
    learning_rate: float | None
    judged: str
    minutes: float
    keys: tuple[str, ...]
    """The bundles of all steps of all runs, each as often as it was asked for."""
    text_mb: dict[str, float]
    """Text of each language, which the teacher was trained on too; empty for a few languages."""
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    follows: Pair | None = None
    """Over languages: the rank correlation of what is kept of bits per byte with the amount of text."""


def verdict(interval: Interval) -> Verdict:
    """Of a difference that the claim says is above 0."""
    low, high = interval
    return "undecided" if low <= 0 <= high else "same direction" if low > 0 else "other direction"


def keep() -> list[str]:
    """Keep the answers of this store's sweeps beside those that were kept; the names of those found."""
    from ndogo.registry.bundles import open_store
    from ndogo.registry.recipes import sweep, sweep_names

    store = open_store()
    found = {name: answer for name in sweep_names() if (answer := _answer(store, sweep(name))) is not None}
    written = {name: answer.model_dump(mode="json") for name, answer in sorted((kept() | found).items())}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return list(found)


def kept() -> dict[str, Answer]:
    """The kept answers, by the sweep's name."""
    if not KEPT.is_file():
        return {}
    return {name: Answer.model_validate(raw) for name, raw in json.loads(KEPT.read_text(encoding="utf-8")).items()}


def _answer(store: "Store", asked: "Sweep") -> Answer | None:
    """None where a run of the sweep, as the file says it, is not there."""
    runs = _runs(store, asked)
    if not runs:
        return None
    every = [record for records in runs.values() for record in records]
    judged = {place: _judged(store, records) for place, records in runs.items()}
    arms = [_arm(*place, runs[place], *judged[place]) for place in runs]
    pairs = [_pair(asked, better, worse, judged) for better, worse in asked.better]
    many = len(asked.small.languages) >= FEWEST_LANGUAGES
    text = {language: _text_mb(language) for language in asked.small.languages} if many else {}
    settings = asked.small.judging
    return Answer(
        day=datetime.fromtimestamp(max(r.finished for r in every), UTC).date().isoformat(),
        commit=every[0].commit,
        languages=asked.small.languages,
        seeds=len(asked.small.seeds),
        tokens=asked.small.tokens or 0,
        learning_rate=asked.small.learning_rate,
        judged=f"{settings.mode}, judging seeds {len(settings.seeds)}",
        minutes=round((max(r.finished for r in every) - min(r.started for r in every)) / 60, 1),
        keys=tuple(note.key for record in every for name, note in record.steps.items() if name != "original"),
        text_mb=text,
        arms=tuple(arms),
        pairs=tuple(pairs),
        follows=_follows(arms, text) if text else None,
    )


Place = tuple[str, str]
"""An arm and a language."""
Judged = tuple[list["Evaluation"], list["Evaluation"]]
"""Of each seed the student and the untouched teacher."""


def _runs(store: "Store", asked: "Sweep") -> "dict[Place, list[RunRecord]]":
    """The newest finished run of every arm, language and seed; empty where one is missing."""
    from ndogo.registry.recipes import recipe
    from ndogo.steps.recipe import ORIGINAL
    from ndogo.steps.sweep import arms
    from ndogo.tasks.run_record import RUNS, RunRecord

    size, recipes = asked.small, arms(asked, asked.small, recipe)
    texts = {found.text: arm for arm, found in recipes.items()}
    alike = (size.judging.model_dump(mode="json"), size.tokens)
    newest: dict[tuple[str, str, int], RunRecord] = {}
    for record in sorted(store.read_records(RUNS, RunRecord), key=lambda one: one.finished):
        arm = texts.get(record.recipe_text)
        if arm and record.state == "COMPLETED" and (record.run["settings"], record.run["token_cap"]) == alike:
            newest[arm, record.language, record.seed] = record
    places = [(arm, language) for language in size.languages for arm in recipes]
    if any((*place, seed) not in newest for place in places for seed in size.seeds):
        return {}
    found = {place: [newest[(*place, seed)] for seed in size.seeds] for place in places}
    assert all(ORIGINAL in record.evaluations for records in found.values() for record in records)
    return found


def _judged(store: "Store", records: "Sequence[RunRecord]") -> Judged:
    from ndogo.steps.recipe import ORIGINAL
    from ndogo.tasks.cards import evaluation_of

    students, teachers = (
        [evaluation_of(store, record.evaluations[name or record.last].key) for record in records]
        for name in ("", ORIGINAL)
    )
    return students, teachers


def _arm(
    arm: str,
    language: str,
    records: "Sequence[RunRecord]",
    students: "Sequence[Evaluation]",
    teachers: "Sequence[Evaluation]",
) -> Arm:
    from ndogo.evaluation import retention

    mean, size = retention(students, teachers).mean, records[0].sizes(records[0].last)
    assert mean is not None, f"{arm} in {language}: the benchmarks are not those of the teacher"
    bits = _saved(students, teachers)
    return Arm(
        arm=arm,
        language=language,
        params=size.params,
        size_mb=size.size_mb,
        tokens=_tokens(records[0]),
        score=mean.student,
        retention=mean.retention,
        interval=mean.retention_interval,
        benchmarks=tuple(students[0].benchmarks),
        bits_per_byte=sum(s.language_model.bits_per_byte for s in students if s.language_model) / len(students),
        saved=bits[0] if bits else None,
        saved_interval=bits[1] if bits else None,
    )


def _tokens(record: "RunRecord") -> int:
    read = [note.numbers.tokens for note in record.steps.values() if note.numbers and note.kind in TRAININGS]
    return int(read[-1] or 0) if read else 0


def _saved(ones: "Sequence[Evaluation]", others: "Sequence[Evaluation]") -> tuple[float, Interval] | None:
    from ndogo.evaluation.effects import bits_saved

    first, second = ([one.language_model for one in many if one.language_model] for many in (ones, others))
    return bits_saved(first, second) if len(first) == len(ones) and len(second) == len(others) else None


def _pair(asked: "Sweep", better: str, worse: str, judged: dict[Place, Judged]) -> Pair:
    """The mean over languages; their intervals add as independent ones do."""
    from ndogo.evaluation import retention

    found = []
    for language in asked.small.languages:
        one, other = judged[better, language][0], judged[worse, language][0]
        if asked.by == "bits_per_byte":
            saved = _saved(one, other)
            assert saved is not None, f"{asked.name}: {better} and {worse} have no bits per byte in common"
            found.append(saved)
        else:
            mean = retention(one, other).mean
            assert mean is not None, f"{asked.name}: {better} and {worse} have no benchmarks in common"
            low, high = mean.difference_interval
            found.append((100 * mean.difference, (100 * low, 100 * high)))
    difference = sum(one for one, _ in found) / len(found)
    half = sum(((high - low) / 2) ** 2 for _, (low, high) in found) ** 0.5 / len(found)
    interval = (difference - half, difference + half)
    return Pair(better=better, worse=worse, difference=difference, interval=interval, verdict=verdict(interval))


def _follows(arms: Sequence[Arm], text_mb: dict[str, float]) -> Pair:
    """Rank correlation of bits per byte saved with the amount of text, and its interval over draws of the languages."""
    import numpy as np

    first = [arm for arm in arms if arm.arm == arms[0].arm and arm.saved is not None]
    values_2L = np.array([[text_mb[arm.language] for arm in first], [arm.saved for arm in first]])
    drawn_BL = np.random.default_rng(0).integers(len(first), size=(DRAWS, len(first)))
    varied = [at for at in drawn_BL if len(set(at)) > 2]  # of two languages any order is one
    low, high = np.percentile([_rank_correlation(values_2L[:, at]) for at in varied], [2.5, 97.5])
    interval = (float(low), float(high))
    rho = _rank_correlation(values_2L)
    return Pair(better="kept", worse="text", difference=rho, interval=interval, verdict=verdict(interval))


def _rank_correlation(values_2L: "np.ndarray") -> float:
    import numpy as np
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(values_2L, axis=1))[0, 1])


def _text_mb(name: str) -> float:
    from ndogo.registry.corpora import corpus

    return round(sum(len(line.encode()) + 1 for line in corpus(name, "local").lines()) / 1e6, 2)


if __name__ == "__main__":
    sys.stdout.write(f"kept: {', '.join(keep()) or 'none'}\n")
