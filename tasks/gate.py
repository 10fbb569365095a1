"""The nightly gate: what a challenger must show before it becomes the champion."""

import logging
from collections.abc import Mapping

from ndogo.core.progress import silent
from ndogo.evaluation import Evaluation, retention
from ndogo.registry import model_registry
from ndogo.registry.bundles import Bundle
from ndogo.steps.recipe import Budget
from ndogo.tasks.evaluation import evaluated
from ndogo.tasks.run import Run

log = logging.getLogger("ndogo.gate")

WORST_FALL = -1.0
"""Points: a paired 95% interval that lies wholly below this is a fall."""


def decide(run: Run, version: model_registry.Version, judged: Evaluation, summary: Mapping[str, float]) -> list[str]:
    """Promote the version where nothing speaks against it, else say what does."""
    champion = model_registry.by_alias(run.store, run.model_name, model_registry.CHAMPION)
    against = over_budget(run.recipe.budget, summary)
    if champion is not None and champion.version != version.version:
        defended = champion.tags["bundle"]
        if run.store.find(defended) is None:
            log.warning("the champion's bundle %s is gone, so nothing can be compared with it", defended)
        else:  # judged again where rows, settings or libraries have changed since
            _, before, _ = evaluated(run, Bundle("champion", defended), silent)
            against += fallen(judged, before, f"version {champion.version}")
    if not against:
        model_registry.promote(run.store, run.model_name, version.version, {"gate": "passed"})
    return against


def over_budget(budget: Budget | None, summary: Mapping[str, float]) -> list[str]:
    """Which sizes are above the recipe's budget."""
    if budget is None:
        return []
    limits = {"params": budget.params, "size_mb": budget.size_mb}
    return [
        f"{name} is {summary[name]:,g}, the budget {limit:,g}"
        for name, limit in limits.items()
        if limit is not None and summary[name] > limit
    ]


def fallen(judged: Evaluation, before: Evaluation, champion: str) -> list[str]:
    """Which benchmarks fell beyond doubt against the champion's evaluation."""
    found = []
    for name, compared in retention(judged, before).benchmarks.items():
        low, high = (100 * bound for bound in compared.difference_interval)
        if high < WORST_FALL:
            found.append(
                f"{name} fell by {-100 * compared.difference:.1f} points "
                f"(95% interval {low:.1f} to {high:.1f}) against {champion}"
            )
    return found
