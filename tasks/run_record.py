"""The record of a run, field by field: what happened, and what of it MLflow has. One JSON in the store, `runs/<id>.json`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from ndogo.evaluation import EvaluationSettings, Mode
from ndogo.registry.bundles import Store
from ndogo.registry.corpora import Profile
from ndogo.registry.details import Numbers
from ndogo.registry.integrity import git_commit
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.run import Run

RUNS = "runs"
"""The kind of these records in the store."""

TOY = "Pocket profile: a generated toy world and capped training; it says nothing about real text."
CAPPED = "Capped training: fewer tokens than the recipe says."
RunState = Literal["RUNNING", "COMPLETED", "REFUSED", "FAILED", "KILLED"]


class _Growing(BaseModel):
    """A part of a record: unknown keys refused, changed as the run goes on."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class RelativeSizes(BaseModel):
    """A model's size against the teacher's, under the names that every stage and the whole run share."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    params: int
    """Distinct parameters; tied weights count once."""
    params_encoder: int
    """Those of the bare encoder with its pooler."""
    params_embedding: int
    """Those of the embeddings."""
    size_mb: float
    """What a user downloads, at one type for all (`core.download`)."""
    compression_ratio: float
    """The teacher's parameters over the model's."""
    compression_ratio_trimmed: float
    """Those of the teacher trimmed to the model's rows over the model's: what is not owed to other languages' rows."""
    reduction_percent: float
    """How many percent fewer parameters than the teacher."""


class StepNumbers(Numbers):
    """The numbers of a step's step.json, its size against the teacher's, and the seconds that this run spent on it."""

    compression_ratio: float
    compression_ratio_trimmed: float | None = None
    """None in a record that is older than this number."""
    reduction_percent: float
    seconds_here: float = 0.0


class StepNote(_Growing):
    """A step's result. Until it is there only the training curve is known."""

    kind: str = ""
    spec: dict[str, JsonValue] = Field(default_factory=dict)
    key: str = ""
    parents: dict[str, str] = Field(default_factory=dict)
    found: bool = False
    """Whether its bundle was in the store already."""
    numbers: StepNumbers | None = None
    curve: list[tuple[int, dict[str, float]]] = Field(default_factory=list)


class EvaluationNote(_Growing):
    """How a step's model was judged, and the key of the evaluation."""

    key: str
    metrics: dict[str, float]
    benchmarks: list[str] = Field(default_factory=list)
    """What `score` is the mean of; empty in a record that is older than this list."""
    problems: dict[str, str]


class ReportNote(_Growing):
    """Where a run's report lies, the hashes of its files, and what it says in words."""

    folder: str
    files: dict[str, str]
    sentences: list[str]


class SentRun(_Growing):
    """What of one MLflow run was sent."""

    run_id: str
    status: str = "RUNNING"
    params: list[str] = Field(default_factory=list)
    content: str = ""
    """Digest of the parameters and metrics."""
    curve: int = -1
    """The last point of the training curve."""
    bundle: bool = False


class Sent(_Growing):
    """What MLflow has of a record, by content, so that nothing is logged twice."""

    uri: str = ""
    experiment: str = ""
    parent: SentRun | None = None
    steps: dict[str, SentRun] = Field(default_factory=dict)
    recipe: str = ""
    """Digest of the recipe's text."""
    report: dict[str, str] = Field(default_factory=dict)
    description: str = ""
    text: str = ""
    """Digest of the text that was named as the dataset."""


class RunRecord(_Growing):
    """Everything that is known of a run."""

    id: str
    name: str
    language: str
    profile: Profile
    recipe: str
    recipe_text: str
    run: dict[str, JsonValue]
    """The run itself, without recipe and store."""
    seed: int
    scaled: bool
    """Whether its trainings were cut short, as on the pocket profile."""
    model_name: str
    commit: str
    last: str
    """The id of the step that makes the small model."""
    state: RunState = "RUNNING"
    steps: dict[str, StepNote] = Field(default_factory=dict)
    evaluations: dict[str, EvaluationNote] = Field(default_factory=dict)
    summary: dict[str, float] = Field(default_factory=dict)
    """The numbers that runs are compared by; empty until the end."""
    tags: dict[str, str] = Field(default_factory=dict)
    repeats: str = ""
    """The id of the finished run that made all that this one asks for, known when it begins."""
    started: float = 0.0
    finished: float = 0.0
    report: ReportNote | None = None
    registered: Annotated[str | None, Field(coerce_numbers_to_str=True)] = ""
    """The version of the registered model; None while it waits for MLflow, empty where it is not to be registered."""
    mlflow: Sent = Field(default_factory=Sent)
    delivered: str = ""
    """Digest of the content that MLflow has whole."""

    @field_validator("mlflow", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        """What an older Ndogo noted here has another form; the runs are then found again by their tags."""
        try:
            return Sent.model_validate(value)
        except ValidationError:
            return Sent()

    @property
    def notice(self) -> str:
        """What a reader must know before any number; empty where there is nothing."""
        return TOY if self.profile == "pocket" else CAPPED if self.scaled else ""

    def sizes(self, step: str) -> StepNumbers:
        """The numbers of a step whose result is there."""
        numbers = self.steps[step].numbers
        assert numbers is not None, f"{step} has no result yet"
        return numbers


@dataclass(frozen=True)
class SweepRow:
    """One language and recipe of a sweep: size, and mean score and retention over seeds; None where they are not comparable."""

    language: str
    recipe: str
    seeds: int
    notice: str
    """What a reader must know before any number."""
    params: int
    compression_ratio: float
    benchmarks: tuple[str, ...]
    """What the mean is over."""
    mode: str
    """How they were judged: probe or finetune."""
    score: float | None
    retention: float | None
    interval: tuple[float, float] | None
    """95%, by the rule of `evaluation.retention`."""
    covers: str
    """What the interval covers."""
    vectors: dict[str, tuple[float, tuple[float, float]]]
    """What is kept of the teacher's sentence vectors and its 95% interval, by measure; empty where they were not judged."""
    front: bool = False
    """Whether nothing of the row's size or smaller retains more of the same language."""


def mode_of(record: RunRecord) -> Mode:
    """How the models of a run were judged."""
    return EvaluationSettings.model_validate(record.run["settings"]).mode


def opening(run: Run) -> RunRecord:
    """The first content of a run's record."""
    return RunRecord(
        id=run.id,
        name=run.name,
        language=run.language,
        profile=run.profile,
        recipe=run.recipe.name,
        recipe_text=run.recipe.text,
        run=run.model_dump(mode="json", exclude={"recipe", "store"}),
        seed=run.seed,
        scaled=run.token_cap is not None,
        model_name=run.model_name,
        commit=git_commit(),
        last=run.recipe.last,
    )


def run_of(record: RunRecord, store: Store) -> Run:
    """The run that a record was opened for; its recipe without the baselines' steps."""
    return Run.model_validate({**record.run, "recipe": parse_recipe(record.recipe_text), "store": store})
