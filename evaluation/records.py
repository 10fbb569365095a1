"""What evaluation says, field by field. `model_dump(mode="json")` is what lies on disk; a file of another form is refused."""

import statistics
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ndogo.core.frozen import Frozen, Later
from ndogo.evaluation.rows import Kind
from ndogo.evaluation.settings import CostSettings, EvaluationSettings

Metric = Literal["macro_f1", "entity_f1", "accuracy", "retrieval_accuracy", "neighbours_found", "ndcg_at_10"]
Interval = tuple[float, float]
"""Both ends of a 95 % interval."""
Verdict = Literal["better", "worse", "no difference"]
FEWEST_SEEDS = 3
"""Of compression, from which their spread is part of an interval."""


class Spread(Frozen):
    """One metric over the seeds, in [0, 1]."""

    scores: list[float]
    mean: float
    std: float | None
    """Sample standard deviation; one seed has none."""
    n_seeds: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Spread":
        """The spread of one score per seed."""
        std = statistics.stdev(scores) if len(scores) > 1 else None
        return cls(scores=list(scores), mean=statistics.fmean(scores), std=std, n_seeds=len(scores))


class BenchmarkScores(Spread):
    """A model on one benchmark: the compared metric, and what a paired comparison with another model needs."""

    kind: Kind
    metric: Metric
    others: dict[str, Spread]
    """The metrics that are shown beside it."""
    chosen: dict[str, float]
    """What dev chose: a learning rate or a strength."""
    dev: list[float]
    seeds: list[int]
    rows: dict[str, int]
    """By split."""
    fingerprint: str
    notes: list[str]
    remarks: list[str]
    """On how this model was judged: a rate at the edge of those that were tried, a training that diverged."""
    items: list[list[list[int]]]
    """Counts per seed and test row (`evaluation.scores.counts`)."""


class LanguageModelScores(Frozen):
    """A masked language model on drawn words of held-out text."""

    bits_per_byte: float
    """Of the words' tokens, plus the two parts below: an upper bound, by the same rule for every vocabulary."""
    token_counts_bits_per_byte: float
    """What it costs to say into how many tokens each word falls, which the masks betray."""
    dropped_columns_bits_per_byte: float
    """What the untrimmed model would gain merely by not guessing tokens that were trimmed away; 0 where none were."""
    word_accuracy: float
    """Share of words whose every token is the best guess."""
    words: int
    bytes: int
    tokens: int
    tokens_per_word: float
    words_with_unknown_tokens: float
    """A share."""
    lines: Annotated[tuple[tuple[float, int, int, int], ...], Later()] = ()
    """For a comparison line by line: bits, bytes, words guessed and words of each; empty in an older record."""


class Agreement(Frozen):
    """A task model's answers beside its teacher's on unlabelled text."""

    teacher: str
    lines: int
    answers: int
    """Texts, or words."""
    equal: float
    """Share of the answers that are the teacher's."""
    metric: Metric
    score: float
    """The task's own metric with the teacher's answers as the right ones: most words are no entity, and easily equal."""


class DroppedColumns(Frozen):
    """What a model gains by merely not having the columns that a trim took away."""

    bits_per_byte: float


class Evaluation(Frozen):
    """How one model was judged."""

    version: int
    model: str
    parameters: int
    """Of the bare encoder."""
    settings: EvaluationSettings
    versions: dict[str, str]
    """Of the libraries that can move a score."""
    benchmarks: dict[str, BenchmarkScores]
    problems: dict[str, str]
    """What could not be judged, and why."""
    seconds: float
    language_model: LanguageModelScores | None = None
    agreement: Agreement | None = None
    vectors: dict[str, BenchmarkScores] = Field(default_factory=dict)
    """Of sentence vectors, beside the teacher's; not part of any mean. Empty: not asked for."""
    device: Annotated[str, Later()] = "cpu"
    """Where the states were computed."""


class Comparison(Frozen):
    """Student beside teacher on one benchmark or the mean of all; scores in [0, 1], differences student - teacher."""

    student: float
    teacher: float
    retention: float
    retention_interval: Interval
    difference: float
    difference_interval: Interval
    verdict: Verdict
    """`no difference` when the interval of the difference holds 0."""


class Retention(Frozen):
    """How much of a teacher a student retains."""

    benchmarks: dict[str, Comparison]
    """Those that both were judged on."""
    mean: Comparison | None
    """Of all of them; None, "not comparable", where `missing` names one that was not judged for both."""
    missing: list[str]
    compression_seeds: int
    """Below three the intervals cover test rows and judging seeds only."""
    resamples: int
    level: float
    vectors: dict[str, Comparison] = Field(default_factory=dict)
    """Those of sentence vectors that both were judged on."""

    @property
    def covers(self) -> str:
        """What the intervals cover, in words."""
        if self.compression_seeds >= FEWEST_SEEDS:
            return f"test rows, judging and {self.compression_seeds} seeds of compression"
        return f"test rows and judging; {('one seed', 'two seeds')[self.compression_seeds - 1]} of compression"


class GapClosed(Frozen):
    """How much of the way from the floor to the teacher a student went, on mean scores."""

    floor: str
    """The best of the baselines at the student's size."""
    floor_mean: float
    closed: float


class PartParameters(Frozen):
    """Distinct parameters by part; tied weights once."""

    embeddings: int
    layers: int
    head: int
    total: int


class ByteCounts(Frozen):
    """What a user downloads: weights at three types, each with the tokenizer; and the files as they lie here."""

    fp32: int
    fp16: int
    int8: int
    disk: int


class Memory(Frozen):
    """Resident bytes of a fresh process: with the libraries alone, and at the highest point."""

    idle: int
    peak: int


class Speed(Frozen):
    """The bare encoder at one batch size and length."""

    p50_ms: float
    p95_ms: float
    rows_per_second: float
    runs: int


class Cost(Frozen):
    """What one model costs; `speed` by "batch x length"."""

    parameters: PartParameters
    bytes: ByteCounts
    memory: Memory
    speed: dict[str, Speed] = Field(default_factory=dict)


class Costs(Frozen):
    """What a model costs, and the teacher that took turns with it."""

    student: Cost
    teacher: Cost | None = None
    settings: CostSettings


class Latency(Frozen):
    """Median milliseconds of one row through each bare encoder, and how much faster the student is."""

    latency_ms: float
    """Of the small model, one row of 128 tokens, one thread."""
    latency_teacher_ms: float
    """Of the teacher."""
    speedup: float
    """How many times faster the small model is."""
