"""The gate: what a challenger must show before it becomes the champion. Whatever cannot be shown is a refusal.

Against the champion and against the fixed reference, each judged again on today's rows, settings and libraries, as paired
differences in points, challenger minus the other: refused where the set of benchmarks is another than at the crowning, where any
benchmark's interval lies wholly below -1, or where the difference of the means is below -1. And the size must keep to the
recipe's budget, and every trim of the lineage must have a valid certificate. A first model has nobody to be compared with.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from ndogo.core.errors import NdogoError
from ndogo.core.progress import silent
from ndogo.evaluation import Evaluation, retention
from ndogo.registry import champions, model_registry
from ndogo.registry.bundles import Bundle, Store
from ndogo.registry.champions import Crowned
from ndogo.registry.model_registry import Version
from ndogo.steps.recipe import Budget
from ndogo.steps.step import kinds
from ndogo.tasks.evaluation import EVALUATIONS, evaluated
from ndogo.tasks.run import Run

WORST_FALL = -1.0
"""Points: of a benchmark's whole interval, and of the mean's difference itself."""
CERTIFICATE = "certificate.json"


class Refused(NdogoError):
    """The gate did not let a model through; the champion stays."""

    def __init__(self, model: str, reasons: Sequence[str], run: str) -> None:
        super().__init__(
            f"The gate refused {model}: {'; '.join(reasons)}.",
            where=f"run {run}",
            cure="The champion stays. `ndogo promote` overrules the gate.",
        )
        self.reasons = tuple(reasons)


def decide(run: Run, version: Version, judged: Evaluation, summary: Mapping[str, float]) -> list[str]:
    """Promote the version where nothing speaks against it, else say what does; either is written onto the version."""
    store, name, bundle = run.store, run.model_name, version.tags["bundle"]
    with store.lock(f"{champions.CHAMPIONS}-{name}"):
        try:
            others = _others(store, name)
            if others and others["champion"].bundle == bundle:
                return []  # it is the champion already: there is nothing to decide
            against = over_budget(run.recipe.budget, summary) + uncertified(store, bundle)
            for role, other in others.items():
                against += _against(run, judged, role, other)
        except NdogoError as error:  # what cannot be read cannot be compared with
            against = [str(error)]
        model_registry.note(store, name, version.version, *_told(against, summary))
        if not against:
            crowned = Crowned(bundle=bundle, version=version.version, benchmarks=list(judged.benchmarks))
            model_registry.promote(store, name, version.version, crowned)
    return against


def _others(store: Store, name: str) -> dict[str, Crowned]:
    """Champion and reference, the same one once; none where there never was a champion.

    The store's record decides. A champion that was crowned before there were such records is read from the registry, and one that
    a person moved to there stands in the champion's place.
    """
    standing, shown = champions.standing(store, name), model_registry.by_alias(store, name, model_registry.CHAMPION)
    champion = standing.champion if standing else None
    if shown is not None and (champion is None or shown.tags.get("bundle") != champion.bundle):
        champion = crowned_of(store, shown)
    if champion is None:
        return {}
    reference = standing.reference if standing else champion
    found = {"champion": champion, "reference": reference}
    return found if reference.bundle != champion.bundle else {"champion": champion}


def crowned_of(store: Store, version: Version) -> Crowned:
    """What the store keeps of a version that is made the champion.

    :raises NdogoError: the version does not say which bundle it is.
    """
    tags = version.tags
    if "bundle" not in tags:
        raise NdogoError(
            f"Version {version.version} does not say which bundle it is.",
            where="its tag `bundle`",
            cure="Crown a version that Ndogo registered, with `ndogo promote`.",
        )
    judged = store.read_record(EVALUATIONS, tags.get("evaluation", ""), Evaluation) if "evaluation" in tags else None
    names = list(judged.benchmarks) if judged else []
    return Crowned(bundle=tags["bundle"], version=version.version, benchmarks=names)


def _against(run: Run, judged: Evaluation, role: str, other: Crowned) -> list[str]:
    """What speaks against a challenger beside the champion or the reference."""
    named = f"the {role}, version {other.version}"
    bundle = run.store.find(other.bundle)
    if bundle is None:
        return [f"the bundle {other.bundle} of {named} is gone, so nothing can be compared with it"]
    _, before, _ = evaluated(run, Bundle(role, other.bundle), silent)
    return other_benchmarks(judged, other.benchmarks or list(before.benchmarks), named) + fallen(judged, before, named)


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


def uncertified(store: Store, key: str) -> list[str]:
    """Which trims of a bundle's lineage have no valid certificate."""
    return [f"the certificate of {of} is {state}" for of, state in _certificates(store, key) if state != "valid"]


def _certificates(store: Store, key: str) -> Iterator[tuple[str, str]]:
    trims = {kind for kind, step in kinds().items() if step.makes_vocabulary}
    while key:
        if store.find(key) is None:
            yield f"bundle {key}", "gone with it"
            return
        details = store.details(key)
        if details.step in trims:
            yield f"{details.step} {key}", _state(store, key)
        key = details.parents.get("student", "")


def _state(store: Store, key: str) -> str:
    file = store.path(key) / CERTIFICATE
    try:
        return "valid" if json.loads(file.read_text(encoding="utf-8")).get("valid") is True else "not valid"
    except (OSError, ValueError, AttributeError):
        return "missing or no JSON"


def other_benchmarks(judged: Evaluation, crowned: Sequence[str], other: str) -> list[str]:
    """Whether a challenger was judged on other benchmarks than the other model at its crowning."""
    lost = [name for name in crowned if name not in judged.benchmarks]
    more = [name for name in judged.benchmarks if name not in crowned]
    told = [f"{name} was not judged, as it was for {other}" + _why(judged, name) for name in lost]
    return told + [f"{name} was judged, and was not for {other}" for name in more]


def _why(judged: Evaluation, name: str) -> str:
    return f" ({' '.join(judged.problems[name].split())})" if name in judged.problems else ""


def fallen(judged: Evaluation, before: Evaluation, other: str) -> list[str]:
    """Which benchmarks fell beyond doubt, and whether the mean fell, against another evaluation."""
    compared = retention(judged, before)
    found = []
    for name, one in compared.benchmarks.items():
        low, high = (100 * bound for bound in one.difference_interval)
        if high < WORST_FALL:
            found.append(
                f"{name} fell by {-100 * one.difference:.1f} points "
                f"(95% interval {low:.1f} to {high:.1f}) against {other}"
            )
    if compared.mean is None:
        found.append(f"the means are not comparable: {', '.join(compared.missing)} was not judged for {other} too")
    elif 100 * compared.mean.difference < WORST_FALL:
        found.append(f"the mean fell by {-100 * compared.mean.difference:.1f} points against {other}")
    return found


def _told(against: Sequence[str], summary: Mapping[str, float]) -> tuple[dict[str, str], str]:
    """Tags of a version, and the end of its description: size, scores and the gate's word."""
    shown = {name: f"{summary[name]:.4g}" for name in ("score", "retention", "size_mb", "params") if name in summary}
    word = "refused" if against else "passed"
    about = ", ".join(f"{name} {value}" for name, value in shown.items())
    reasons = "; ".join(against)
    return shown | {"gate": word, "refused": reasons}, f"{word} ({about}){': ' + reasons if reasons else ''}."
