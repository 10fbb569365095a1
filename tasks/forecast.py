"""How long a run will take: a line per step, from what this store has made before, else from a short clock.

Steps of one kind take time in proportion to their work: a training to its tokens, three times the student's matrices and
once the teacher's; all else to the matrices of the model, and judging to its parameters. The machine's clock is the rate of its
matrix products.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.progress import about
from ndogo.core.threads import threads
from ndogo.evaluation import Evaluation
from ndogo.registry.bundles import Store
from ndogo.registry.details import BundleDetails, Sizes
from ndogo.registry.integrity import MARK, read_details
from ndogo.steps.step import Step
from ndogo.steps.training import Training
from ndogo.tasks.evaluation import EVALUATIONS, key_of
from ndogo.tasks.run import Run, planned, sharing_evaluations, sharing_steps

if TYPE_CHECKING:
    from ndogo.steps.plan import Planned

REACHED = 0.5
"""The share of the clock that trainings reach; docs/speed.md has measured 0.6 alone on a machine."""
CLOCK = 0.2
"""Seconds of matrix products."""
NEWEST = 50
"""So many of the store's newest bundles and evaluations give the rates."""


@dataclass(frozen=True)
class Forecast:
    """One step or evaluation of a run."""

    name: str
    found: bool
    seconds: float | None = None
    """None: nothing like it was made here before."""
    by: str = ""
    """What the time is from."""

    def line(self) -> str:
        """For people."""
        if self.found:
            return f"{self.name}: found"
        told = f"{about(self.seconds)}, {self.by}" if self.seconds is not None else "for how long is not known yet"
        return f"{self.name}: will be made, {told}"


def told(runs: Sequence[Run]) -> list[str]:
    """A line per step and evaluation of the runs, and one for the whole where anything is to be made."""
    rates = _Rates(runs[0].store)
    found = [
        *(_of_step(run, name, rates) for run, name in _first(sharing_steps(runs))),
        *(_of_evaluation(run, name, rates) for run, name in _first(sharing_evaluations(runs))),
    ]
    lines = [one.line() for one in found]
    making = [one for one in found if not one.found]
    if making:
        known = [one.seconds for one in making if one.seconds is not None]
        told = about(sum(known)) if known else "for how long is not known yet"
        more = f" for {len(known)} of them" if 0 < len(known) < len(making) else ""
        lines.append(f"all: {len(making)} of {len(found)} will be made, {told}{more}")
    return lines


def _first(owners: dict[str, list[tuple[Run, str]]]) -> list[tuple[Run, str]]:
    return [found[0] for found in owners.values()]


def _of_step(run: Run, name: str, rates: "_Rates") -> Forecast:
    step, key = run.recipe.step(name), run.requests()[name].key
    if (run.store.path(key) / MARK).is_file():
        return Forecast(name, found=True)
    rows = rates.plan(run)
    teacher = _matrices(rows[step.parents["teacher"]]) if "teacher" in step.parents else 0
    tokens = _tokens(run, step)
    if step.trains and tokens is None:
        return Forecast(name, found=False)
    work = _work(step.trains, tokens, _matrices(rows[step.student]), teacher)
    rate, by = rates.of(step.kind)
    if rate is None and step.trains:
        rate, by = 2.0 / clock(threads()) / REACHED, "by the clock of this machine"
    return Forecast(name, found=False, seconds=None if rate is None else work * rate, by=by)


def _of_evaluation(run: Run, name: str, rates: "_Rates") -> Forecast:
    title, key = f"evaluate {name}", run.bundle_keys()[name]
    if (run.store.folder / EVALUATIONS / f"{key_of(run, key)}.json").is_file():
        return Forecast(title, found=True)
    mark = run.store.path(key) / MARK
    size = read_details(mark.parent).numbers.params_encoder if mark.is_file() else rates.plan(run)[name].params_encoder
    rate, by = rates.of_evaluations(run)
    return Forecast(title, found=False, seconds=None if rate is None else size * rate, by=by)


def _matrices(sizes: "Planned | Sizes") -> int:
    """The parameters that every token is multiplied by: of the embedding it only reads a row."""
    return sizes.params_encoder - sizes.params_embedding


def _tokens(run: Run, step: Step) -> int | None:
    """At most how many tokens a training reads, where that is known before its text is tokenised."""
    if not isinstance(step, Training):
        return None
    asked = step.tokens
    if step.steps is not None:
        asked = step.steps * (step.batch_tokens or step.batch_size * step.max_length)
    return min((most for most in (asked, run.cap(step)) if most is not None), default=None)


def _work(trains: bool, tokens: int | None, student: int, teacher: int) -> float:
    return float((tokens or 0) * (3 * student + teacher)) if trains else float(student)


class _Rates:
    """Seconds for a unit of work, by what the store holds; it is read when it is first asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._plans: dict[str, dict[str, Planned]] = {}

    def plan(self, run: Run) -> "dict[str, Planned]":
        """The planned models of a run by step, planned once."""
        if run.id not in self._plans:
            self._plans[run.id] = {row.id: row for row in planned(run)}
        return self._plans[run.id]

    @cached_property
    def _by_kind(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for details in self._bundles():
            numbers, parents = details.numbers, [self._params(details, role) for role in ("student", "teacher")]
            if numbers.seconds > 0 and parents[0]:
                work = _work(numbers.tokens is not None, numbers.tokens, parents[0], parents[1])
                found.setdefault(details.step, []).append(numbers.seconds / work)
        return found

    def of(self, kind: str) -> tuple[float | None, str]:
        """Of a kind of step, and from what."""
        return _middle(self._by_kind.get(kind, []))

    def of_evaluations(self, run: Run) -> tuple[float | None, str]:
        """Of judging a model as a run's are."""
        asked = run.settings.mode
        files = _newest(self.store.folder / EVALUATIONS, "*.json")
        every = (self.store.read_record(EVALUATIONS, file.stem, Evaluation) for file in files)
        return _middle([e.seconds / e.parameters for e in every if e and e.settings.mode == asked and e.seconds > 0])

    def _bundles(self) -> list[BundleDetails]:
        found = []
        for file in _newest(self.store.folder / "bundles", f"*/{MARK}"):
            try:
                found.append(read_details(file.parent))
            except ValueError:  # of another form; whoever needs it says so
                continue
        return found

    def _params(self, details: BundleDetails, role: str) -> int:
        key = details.parents.get(role, "")
        return _matrices(self.store.details(key).numbers) if key and self.store.path(key).is_dir() else 0


def _newest(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime)[-NEWEST:]


def _middle(rates: Sequence[float]) -> tuple[float | None, str]:
    return (statistics.median(rates), f"as {len(rates)} before it here") if rates else (None, "")


@cache
def clock(used: int) -> float:
    """Floating-point operations per second of this machine's matrix products, by so many threads, measured in a moment."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(used)
    try:
        left = torch.ones(512, 512)
        left @ left
        started, done = time.monotonic(), 0
        while time.monotonic() - started < CLOCK:
            left @ left
            done += 1
        return done * 2 * 512**3 / (time.monotonic() - started)
    finally:
        torch.set_num_threads(before)
