"""What one run of a recipe is: resolved, planned and keyed before any work, then passed to every task."""

import json
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Frozen
from ndogo.evaluation import EvaluationSettings, Mode, Role
from ndogo.registry.benchmarks import benchmark_of, benchmarks
from ndogo.registry.bundles import BundleRequest, Store
from ndogo.registry.corpora import Profile, corpus, default_profile
from ndogo.registry.hub import Hub
from ndogo.registry.integrity import MARK
from ndogo.registry.languages import Language
from ndogo.registry.languages import language as find_language
from ndogo.registry.parallel import parallel
from ndogo.registry.recipes import recipe as find_recipe
from ndogo.registry.teachers import teacher, weights
from ndogo.steps.recipe import ORIGINAL, Recipe
from ndogo.steps.step import Step
from ndogo.steps.training import Training

if TYPE_CHECKING:  # torch is imported when a run is planned, not when it is deployed
    from ndogo.steps.plan import Planned

POCKET_TOKENS = 300_000
"""On the pocket profile each training reads at most so many tokens, in lines as long as the model reads, and the result is
marked as scaled."""

LEARNT = ("train", "dev")
"""The splits that a step learns from."""
BASELINE = "baseline-"
"""How the ids of the steps begin that make baselines and are not the recipe's own."""


class Sources(Frozen):
    """What a run reads from the hub: each repository at the commit that was found when the run began."""

    teacher: dict[str, str] = Field(default_factory=dict)
    corpus: dict[str, str] = Field(default_factory=dict)
    benchmarks: dict[str, str] = Field(default_factory=dict)


class Rows(Frozen):
    """Labelled rows that a step learns from."""

    fingerprint: str
    """Of train and dev."""
    labels: tuple[str, ...]


class Run(Frozen):
    """One recipe, one language, one seed. `id` is the flow run's, or derived from it in a sweep."""

    id: str
    store: Store
    language: str
    profile: Profile
    recipe: Recipe
    seed: int
    original: str
    """Key of the teacher's bundle."""
    corpus: str
    """Fingerprint of the text."""
    settings: EvaluationSettings
    rows: dict[str, Rows] = Field(default_factory=dict)
    """Of each benchmark that the recipe is fine-tuned on."""
    task_models: tuple[str, ...] = ()
    """The steps, and `original`, whose models answer in labels, in running order."""
    token_cap: int | None
    """Of each training; see `cap`."""
    sources: Sources = Sources()
    baselines: dict[str, Role] = Field(default_factory=dict)
    """The models that the recipe must beat, by the ids of the steps that make them (`tasks.baselines`)."""
    beside_vectors: bool = False
    """Whether a recipe that makes sentence vectors stands beside this one in a sweep: then both are judged by them."""

    @property
    def name(self) -> str:
        """For people: `swahili-two-step-0`."""
        return f"{self.language}-{self.recipe.name}-{self.seed}"

    @property
    def model_name(self) -> str:
        """The registered model's name."""
        return f"ndogo-{self.language}-{self.recipe.name}{'-pocket' if self.profile == 'pocket' else ''}"

    @property
    def reference(self) -> str:
        """The id of the model that scores are compared with: the untouched teacher, or the first that can be judged as itself."""
        return self.task_models[0] if self.settings.mode == "own" else ORIGINAL

    @property
    def shapes_vectors(self) -> bool:
        """Whether the recipe makes sentence vectors."""
        return _shapes_vectors(self.recipe)

    @property
    def judges_vectors(self) -> bool:
        """Whether its models are judged by their sentence vectors."""
        return self.shapes_vectors or self.beside_vectors

    def evaluated(self) -> list[str]:
        """The ids of the models to judge: the ends, exports and the adapted teacher, or every step; by their own answers, those
        of them that answer in labels.

        The file of an export cannot be fine-tuned, nor is its head asked: only a probe judges it.
        """
        asked = self._evaluated()
        return asked if self.settings.mode != "own" else [name for name in self.task_models if name in asked]

    def _evaluated(self) -> list[str]:
        order = [step for step in self.recipe.order() if step.makes_model or self.settings.mode == "probe"]
        if self.recipe.evaluate == "every-step":
            return [ORIGINAL, *(s.id for s in order if not s.id.startswith(BASELINE) or s.id in self.baselines)]
        beside = self.passed_by() if self.shapes_vectors else ()
        ends = {self.recipe.last, self.reference, *self.baselines, *beside}
        return [ORIGINAL, *(s.id for s in order if s.result == "adapted" or s.id in ends or not s.makes_model)]

    def passed_by(self) -> "dict[str, Role]":
        """Baselines that the recipe makes anyhow: the trimmed teacher, and the student before it is taught."""
        found: dict[str, Role] = {}
        if self.baselines:
            return found
        for step in self.recipe.order():
            if step.result == "trimmed" and step.student == ORIGINAL:
                found[step.id] = "trimmed"
        last = self.recipe.step(self.recipe.last)
        if last.roles and last.student not in (ORIGINAL, *found):
            found[last.student] = "cut"
        return found

    def cap(self, step: Step) -> int | None:
        """The most tokens that a training may read; a baseline reads as many as it says, since the recipe did."""
        return self.token_cap if step.trains and step.id not in self.baselines else None

    def bundle_keys(self) -> dict[str, str]:
        """The bundle's key of every step, the teacher's included."""
        return {ORIGINAL: self.original} | {name: request.key for name, request in self.requests().items()}

    def asks(self, name: str) -> str:
        """Names the evaluation of a step's model: equal for runs that would judge the same model alike."""
        keys = self.bundle_keys()
        beside = f" {keys[self.reference]}" if self.settings.mode == "own" else ""
        return f"{self.language} {self.profile} {self.settings.model_dump_json()} {keys[name]}{beside}"

    def requests(self) -> dict[str, BundleRequest]:
        """The store's request of every step. A key needs its parents' keys, not their files: all are known beforehand."""
        keys = {ORIGINAL: self.original}
        found: dict[str, BundleRequest] = {}
        for step in self.recipe.order():
            parents = {role: keys[name] for role, name in step.parents.items()}
            found[step.id] = self._request(step, parents)
            keys[step.id] = found[step.id].key
        return found

    def _request(self, step: Step, parents: dict[str, str]) -> BundleRequest:
        return BundleRequest(
            step=step.kind,
            spec=step.content(),
            version=step.version,
            parents=parents,
            corpus=self.corpus if step.reads_text else "",
            seed=self.seed if step.draws else None,
            tokens=self.cap(step),
            rows=self.rows[step.rows].fingerprint if step.rows else "",
            sources=(self.sources.corpus if step.reads_text else {}) | (self.sources.benchmarks if step.rows else {}),
        )


Owner = tuple[Run, str]
"""A run that needs a step, and the step's id in it: in a sweep, several runs share one step."""


class Asked(NamedTuple):
    """What a run is to be made of, in the words of the person who asks."""

    language: str
    recipe: str
    profile: Profile | None
    seed: int
    teacher: str = ""
    """A name or a directory; default: the profile's own."""
    mode: Mode | EvaluationSettings | None = None
    """Or how models are judged in full. Default: by its own answers where the recipe makes a task model, else probe."""
    tokens: int | None = None
    """Each training reads at most so many."""
    baselines: bool = False


def resolve(store: Store, run_id: str, asked: Asked) -> Run:
    """A run with everything that it needs found, and its plan made, before any work.

    :raises NdogoError: whatever cannot be found or cannot be done.
    """
    language = asked.language
    entry, chosen = find_language(language), find_recipe(asked.recipe)
    profile = asked.profile or default_profile(entry)
    guide, text, rows = Hub(), Hub(), Hub()
    folder = weights(asked.teacher, entry, profile, guide)
    fingerprint = corpus(language, profile, text).fingerprint()
    known = benchmarks(language, profile, rows)  # all that a run needs is found, and fetched, before any work
    if isinstance(asked.mode, EvaluationSettings):
        names = [found.name for found in known]
        for missing in asked.mode.not_among(names):
            raise unknown("benchmark", missing, names, where="judging: benchmarks")
    if _shapes_vectors(chosen):
        parallel(language, profile, rows)
    original = store.adopt(folder, guide.commits)
    run = Run(
        id=run_id,
        store=store,
        language=language,
        profile=profile,
        recipe=chosen,
        seed=asked.seed,
        original=original.key,
        corpus=fingerprint,
        settings=EvaluationSettings(),
        rows={step.rows: _rows(step.rows, entry, profile, rows) for step in chosen.steps if step.rows},
        token_cap=min(filter(None, [asked.tokens, POCKET_TOKENS if profile == "pocket" else None]), default=None),
        sources=Sources(teacher=guide.commits, corpus=text.commits, benchmarks=rows.commits),
    )
    return _with_mode(run, asked)


def _shapes_vectors(recipe: Recipe) -> bool:
    return any(isinstance(step, Training) and step.shapes_vectors for step in recipe.steps)


def _rows(name: str, entry: Language, profile: Profile, hub: Hub) -> Rows:
    found = benchmark_of(name, entry, profile, hub)
    return Rows(fingerprint=found.fingerprint(LEARNT), labels=found.labels)


def _with_mode(run: Run, asked: Asked) -> Run:
    """The run with what its plan says of its models.

    :raises NdogoError: it cannot be planned, or its small model has no answers of its own that could be judged.
    """
    heads = _answering(run)
    mode = asked.mode or ("own" if run.recipe.last in heads else "probe")
    settings = mode if isinstance(mode, EvaluationSettings) else EvaluationSettings(mode=mode)
    mode = settings.mode
    if mode == "own" and run.recipe.last not in heads:
        raise NdogoError(
            f"`{run.recipe.last}` has no head that answers in labels, so it has no answers of its own.",
            where="mode: own",
            cure="Start from a fine-tuned teacher, or judge it by probe or finetune.",
        )
    if mode == "own" and asked.baselines:
        raise NdogoError(
            "Baselines are masked language models, which have no answers of their own to be judged.",
            where="baselines",
            cure="Leave them out, or judge by probe or finetune.",
        )
    return run.model_copy(update={"task_models": heads, "settings": settings})


def _answering(run: Run) -> tuple[str, ...]:
    """The models of a run that answer in labels; making the plan also refuses what cannot be made."""
    teacher_class = str(
        json.loads((run.store.path(run.original) / "config.json").read_text(encoding="utf-8")).get("architectures")
    )
    made = all((run.store.path(key) / MARK).is_file() for key in run.bundle_keys().values())
    if made and "Classification" not in teacher_class and not any(step.kind == "finetune" for step in run.recipe.steps):
        return ()  # what was made once could be planned, and the plan would load torch
    from ndogo.core.task_heads import answers_of

    return tuple(row.id for row in planned(run) if answers_of(row.config))


def planned(run: Run) -> "list[Planned]":
    """The plan of a run, from its teacher's own configuration."""
    from ndogo.steps.plan import Facts, plan

    guide = teacher(str(run.store.path(run.original)))
    scaled = run.token_cap is not None
    labels = {name: rows.labels for name, rows in run.rows.items()}
    where, facts = f"{run.recipe.name}.yaml", Facts(guide.pooler, None, guide.tokenizer_bytes, labels)
    return plan(run.recipe, guide.config, guide.specials, where=where, scaled=scaled, facts=facts)
