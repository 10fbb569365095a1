"""What shapes lose, measured once: a trial is found again by all that it depends on, whichever budget asked for it."""

import hashlib
import time
from collections.abc import Sequence

from ndogo.compressors.budget import Candidate
from ndogo.core.frozen import Frozen
from ndogo.core.progress import Report
from ndogo.registry.bundles import Store, canonical
from ndogo.steps.trials import Trials

KIND = "trials"
LONGEST = 15 * 60.0
"""Seconds after which no further shape is begun."""


class Trial(Frozen):
    """What was found of one shape."""

    loss: float
    """Bits per byte straight after the cut; of a bare encoder the share of its words' states that is lost."""


Measured = tuple[Candidate, float | None]
"""A shape and its loss; None where the time was over before its turn."""


def known(store: Store, trials: Trials, asked: Sequence[Candidate]) -> list[Measured]:
    """The shapes in their order, with the losses that the store has."""
    found = [store.read_record(KIND, _key(trials, candidate), Trial) for candidate in asked]
    return [(candidate, trial.loss if trial else None) for candidate, trial in zip(asked, found, strict=True)]


def measured(store: Store, trials: Trials, asked: Sequence[Candidate], report: Report) -> list[Measured]:
    """The shapes, least loss first; those that time did not allow stand last, in their order.

    :raises NdogoError: a text, a tokenizer or a cut that cannot be used.
    """
    started, found = time.monotonic(), known(store, trials, asked)
    for number, (candidate, loss) in enumerate(found):
        if loss is None and time.monotonic() - started < LONGEST:
            trial = Trial(loss=trials.loss(candidate))
            store.write_record(KIND, _key(trials, candidate), trial)
            found[number] = candidate, trial.loss
        report("measuring shapes", number + 1, len(found))
    return sorted(found, key=lambda one: (one[1] is None, one[1] or 0.0))


def _key(trials: Trials, candidate: Candidate) -> str:
    return hashlib.sha256(canonical(trials.depends(candidate)).encode()).hexdigest()[:20]
