"""What a recipe must beat, as side branches of its own DAG, so that baselines are bundles and evaluations like all others.

The same shape untrained, the same shape with masked LM on as many tokens as the recipe's trainings read, the same cuts
without any training, and the teacher with trimming alone.
"""

from ndogo.core.errors import NdogoError
from ndogo.evaluation import Role
from ndogo.steps.kinds.adapt import Adapt
from ndogo.steps.kinds.fresh import Fresh
from ndogo.steps.recipe import ORIGINAL, Recipe
from ndogo.steps.step import Step
from ndogo.steps.training import Training
from ndogo.tasks.run import BASELINE, Run, planned

LEARNING_RATE, WARMUP, WEIGHT_DECAY = 5e-4, 0.06, 0.01
"""Of the training from scratch: what small encoders start with; rates for adapted weights are ten times too low for it."""


def with_baselines(run: Run) -> Run:
    """The run with its baselines as further steps, once its own are made: how much was read stands in their bundles.

    A baseline that the recipe makes anyhow is not added, only named.
    :raises NdogoError: an id that begins like a baseline's.
    """
    own = run.recipe.steps
    if taken := [step.id for step in own if step.id.startswith(BASELINE)]:
        raise NdogoError(
            f"The id `{taken[0]}` is kept for baselines.", where=f"{run.recipe.name}.yaml", cure="Rename the step."
        )
    branches = [_untrained(run), *_scratch(run), *_cut(run.recipe), *_trimmed(run.recipe)]
    added = tuple(step for step, _ in branches)
    keys = _extended(run, added, {step.id: role for step, role in branches if role}).bundle_keys()
    known = {key: name for name, key in run.bundle_keys().items()}
    names = {step.id: known.get(keys[step.id], step.id) for step in added}
    fresh = tuple(
        step.model_copy(update={"student": names.get(step.student, step.student)})
        for step in added
        if names[step.id] == step.id
    )
    return _extended(run, fresh, {names[step.id]: role for step, role in branches if role})


def _extended(run: Run, added: tuple[Step, ...], baselines: dict[str, Role]) -> Run:
    """The recipe's last model stays the last one written: it is the small one."""
    own = run.recipe.steps
    at = [step.id for step in own].index(run.recipe.last)
    steps = (*own[:at], *added, *own[at:])
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"steps": steps}), "baselines": baselines})


Branch = tuple[Step, Role | None]
"""A step to add, and what its model is to the reader of the report."""


def _untrained(run: Run) -> Branch:
    rows = {row.id: row for row in planned(run)}
    last = rows[run.recipe.last]
    sizes = {name: getattr(last.shape, name) for name in ("layers", "hidden", "ffn", "heads")}
    return Fresh(id=f"{BASELINE}untrained", student=last.vocabulary, **sizes), "untrained"


def _scratch(run: Run) -> list[Branch]:
    """Nothing where nothing is trained, it would be the untrained model; nor where the small model has no masked-LM head."""
    trainings = [step for step in ancestors(run.recipe) if isinstance(step, Training)]
    last = next(row for row in planned(run) if row.id == run.recipe.last)
    if not trainings or not last.head:
        return []
    keys = run.bundle_keys()
    read = sum(run.store.details(keys[step.id]).numbers.tokens or 0 for step in trainings)
    like = trainings[-1]
    step = Adapt(
        id=f"{BASELINE}scratch",
        student=f"{BASELINE}untrained",
        tokens=read,
        learning_rate=LEARNING_RATE,
        warmup=WARMUP,
        weight_decay=WEIGHT_DECAY,
        batch_size=like.batch_size,
        max_length=like.max_length,
        lines=like.lines,
    )
    return [(step, "scratch")]


def _cut(recipe: Recipe) -> list[Branch]:
    """The steps between the teacher and the small model, trainings left out; nothing where the student starts at random."""
    chain: list[Step] = []
    at = recipe.last
    while at != ORIGINAL:
        step = recipe.step(at)
        chain.insert(0, step)
        at = step.student
    cuts = [step for step in chain if not step.trains]
    if len(cuts) == len(chain) or not cuts or any(isinstance(step, Fresh) for step in cuts):
        return []
    before, found = ORIGINAL, []
    for step in cuts:
        found.append(step.model_copy(update={"id": f"{BASELINE}{step.id}", "student": before}))
        before = found[-1].id
    return [*((step, None) for step in found[:-1]), (found[-1], "cut")]


def _trimmed(recipe: Recipe) -> list[Branch]:
    """The recipe's last trim, done to the untouched teacher; nothing where that is all that the recipe does."""
    trims = [step for step in ancestors(recipe) if step.makes_vocabulary]
    if not trims or (trims[-1].id == recipe.last and trims[-1].student == ORIGINAL):
        return []
    return [(trims[-1].model_copy(update={"id": f"{BASELINE}trimmed", "student": ORIGINAL}), "trimmed")]


def ancestors(recipe: Recipe) -> list[Step]:
    """The steps that the small model comes from, itself included, in running order."""
    wanted = {recipe.last}
    for step in reversed(recipe.order()):
        if step.id in wanted:
            wanted |= set(step.parents.values())
    return [step for step in recipe.order() if step.id in wanted]
