"""How long a run will take: a line per step, from what this store has made of models of its size, else from a clock."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ndogo.core.progress import about
from ndogo.evaluation import Evaluation
from ndogo.registry.bundles import Store
from ndogo.registry.details import Numbers
from ndogo.registry.integrity import MARK, read_details
from ndogo.steps.step import Step
from ndogo.steps.training import Training
from ndogo.tasks.evaluation import EVALUATIONS, key_of
from ndogo.tasks.prices import Prices
from ndogo.tasks.run import Run, planned
from ndogo.tasks.sharing import sharing_evaluations, sharing_steps

CLOCK = "by the clock of this machine"
ALIKE = 1.25
"""Models whose parameters differ by no more than this factor take time in proportion to them."""
NEWEST = 50
"""So many of the store's newest bundles and evaluations give the rates."""


@dataclass(frozen=True)
class Forecast:
    """One step or evaluation of a run."""

    name: str
    found: bool
    seconds: float = 0.0
    by: str = ""
    """What the time is from."""

    def line(self) -> str:
        """For people."""
        if self.found:
            return f"{self.name}: found"
        return f"{self.name}: will be made, {about(self.seconds)}, {self.by}"


def told(runs: Sequence[Run]) -> list[str]:
    """A line per step and evaluation, or of several runs one per run; and one for the whole where anything is to be made."""
    rates = _Rates(runs[0].store)
    found = [
        *((run, _of_step(run, name, rates)) for run, name in _first(sharing_steps(runs))),
        *((run, _of_evaluation(run, name, rates)) for run, name in _first(sharing_evaluations(runs))),
    ]
    whole = [one for _, one in found]
    if len(runs) == 1:
        lines = [one.line() for one in whole]
    else:
        lines = [_together(run.name, [one for owner, one in found if owner is run]) for run in runs]
    return lines if all(one.found for one in whole) else [*lines, _together("all", whole)]


def _together(title: str, found: Sequence[Forecast]) -> str:
    """Of a whole run; what it shares is counted where it is met first."""
    making = [one for one in found if not one.found]
    if not making:
        return f"{title}: {'found' if found else 'all as above'}"
    told = about(sum(one.seconds for one in making))
    return f"{title}: {len(making)} of {len(found)} will be made, {told}"


def _first(owners: dict[str, list[tuple[Run, str]]]) -> list[tuple[Run, str]]:
    return [found[0] for found in owners.values()]


def _of_step(run: Run, name: str, rates: "_Rates") -> Forecast:
    step, key = run.recipe.step(name), run.requests()[name].key
    if (run.store.path(key) / MARK).is_file():
        return Forecast(name, found=True)
    seconds, by = rates.of(run, step)
    return Forecast(name, found=False, seconds=seconds, by=by)


def _of_evaluation(run: Run, name: str, rates: "_Rates") -> Forecast:
    title, key = f"evaluate {name}", run.bundle_keys()[name]
    if (run.store.folder / EVALUATIONS / f"{key_of(run, key)}.json").is_file():
        return Forecast(title, found=True)
    seconds, by = rates.of_evaluation(run, name)
    return Forecast(title, found=False, seconds=seconds, by=by)


class _Rates:
    """Seconds, by what the store holds that is alike, else by the clock; each is read when it is first asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._prices: dict[str, Prices] = {}

    def prices(self, run: Run) -> Prices:
        """Those of a run by the clock, planned once."""
        if run.id not in self._prices:
            self._prices[run.id] = Prices(run, {row.id: row for row in planned(run)})
        return self._prices[run.id]

    def of(self, run: Run, step: Step) -> tuple[float, str]:
        """Of a step, and from what."""
        prices = self.prices(run)
        size = prices.rows[step.student].params
        alike = [
            numbers
            for kind, before, numbers, kept in self._made
            if kind == step.kind and _alike(before, size) and kept == getattr(step, "teacher_outputs", "live")
        ]
        if not isinstance(step, Training):
            rate = _middle([numbers.seconds / numbers.params for numbers in alike])
            return (prices.step(step), CLOCK) if rate is None else (rate * prices.rows[step.id].params, _before(alike))
        rates = [float(speed) for n in alike if isinstance(speed := n.found().get("tokens_per_second"), float | int)]
        fastest = _middle([1 / speed for speed in rates if speed > 0])
        if fastest is None:
            return prices.step(step), CLOCK
        live = step.teacher_outputs == "live"  # then what was measured holds the teacher
        beside = 0.0 if live else prices.step(step) - prices.learning(step)
        return fastest * prices.tokens(step) + beside, _before(rates)

    def of_evaluation(self, run: Run, name: str) -> tuple[float, str]:
        """Of judging a model as a run's are."""
        size, prices = self.prices(run).rows[name].params_encoder, self.prices(run)
        rows = {name: len(found.splits["test"]) for name, found in prices.benchmarks.items()}
        alike = [
            e.seconds / e.parameters
            for e in self._judged
            if e.settings == run.settings and _alike(e.parameters, size) and _test_rows(e) == rows
        ]
        rate = _middle(alike)
        return (prices.evaluation(name), CLOCK) if rate is None else (rate * size, _before(alike))

    @cached_property
    def _made(self) -> list[tuple[str, int, Numbers, str]]:
        """Kind, parameters before, numbers, and what was kept of the teacher, of the newest bundles."""
        found = []
        for file in _newest(self.store.folder / "bundles", f"*/{MARK}"):
            try:
                details = read_details(file.parent)
                parent = self.store.path(details.parents.get("student", "none"))
                before = read_details(parent).numbers.params
            except (OSError, ValueError):  # of another form, or without a parent
                continue
            found.append((details.step, before, details.numbers, str(details.spec.get("teacher_outputs", "live"))))
        return found

    @cached_property
    def _judged(self) -> list[Evaluation]:
        files = _newest(self.store.folder / EVALUATIONS, "*.json")
        every = (self.store.read_record(EVALUATIONS, file.stem, Evaluation) for file in files)
        return [evaluation for evaluation in every if evaluation is not None]


def _test_rows(evaluation: Evaluation) -> dict[str, int]:
    return {name: scores.rows["test"] for name, scores in evaluation.benchmarks.items()}


def _alike(size: int, other: int) -> bool:
    """Models whose times are in proportion to their parameters."""
    return min(size, other) * ALIKE > max(size, other)


def _newest(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime)[-NEWEST:]


def _middle(rates: Sequence[float]) -> float | None:
    return statistics.median(rates) if rates else None


def _before(alike: Sequence[object]) -> str:
    return f"as {len(alike)} before it here"
