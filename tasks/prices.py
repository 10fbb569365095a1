"""What a step or an evaluation takes by the machine's clock: how much of what it reads, times what that takes.

A training: its tokens by the student's step and by the teacher; where the teacher's answers are kept, each distinct token once.
Calibration: its lines by the model. A trim: the text by its tokenizer. All else is files. An evaluation: the benchmarks' rows by
the model, and the fits of linear heads, or three passes of each training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.threads import threads
from ndogo.evaluation import Benchmark
from ndogo.evaluation.rows import SPLITS, Sentence
from ndogo.evaluation.settings import PROBED_SHARE
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.steps.kinds.finetune import Finetune
from ndogo.steps.recipe import ORIGINAL
from ndogo.steps.step import Step
from ndogo.steps.training import Training
from ndogo.tasks import clock
from ndogo.tasks.evaluation import LANGUAGE_MODEL, texts_of_vectors
from ndogo.tasks.run import Run

if TYPE_CHECKING:
    from ndogo.steps.plan import Planned

SAMPLE = 1000
"""Lines whose tokens are counted; the others have as many by their letters."""
ENDS = 2
"""Tokens around each text."""
START = 1.0
"""Seconds of any step: loading, checking, publishing."""
BYTES = 1.5e8
"""A second's bytes of models read, written, hashed and loaded back."""
ROW = 2e-5
"""Seconds for each row of a tokenizer that is rewritten."""
DISTINCT = 3.0
"""Counting reads each stretch of text once, which is a third of the work."""
PADDED = 1.05
"""Positions for each token of a judged row."""
LEARNING = 3.0
"""Passes of a step that learns, forward and backward, in forward ones."""
ITERATIONS = 150
"""Of a linear head, usually; at most 200."""


@dataclass(frozen=True)
class Amount:
    """How much text there is."""

    lines: int
    tokens: float
    seconds: float
    """To tokenise it."""

    @property
    def mean(self) -> float:
        """Tokens of a line."""
        return self.tokens / max(1, self.lines)


class Prices:
    """Of one run's steps and evaluations, in seconds; what it reads is measured when it is first asked for."""

    def __init__(self, run: Run, rows: "dict[str, Planned]") -> None:
        self.run, self.rows = run, rows
        self._parts: dict[str, Amount] = {}

    @property
    def text(self) -> Amount:
        """The training text, as the teacher's tokenizer reads it."""
        return self.part(None)

    def part(self, part: int | Fraction | None) -> Amount:
        """So many lines, or such a share, of each language's training text."""
        if (name := repr(part)) not in self._parts:
            read = corpus(self.run.language, self.run.profile, Hub(self.run.sources.corpus), part).lines
            self._parts[name] = self._amount(list(islice(read(), SAMPLE)), [len(line) for line in read()])
        return self._parts[name]

    @cached_property
    def benchmarks(self) -> dict[str, Benchmark]:
        """Those that can be read, by name."""
        found = benchmarks(
            self.run.language, self.run.profile, Hub(self.run.sources.benchmarks), self.run.settings.asks
        )
        return {b.name: b for b in found if isinstance(b, Benchmark)}

    @cached_property
    def rows_tokens(self) -> dict[str, dict[str, float]]:
        """Of each benchmark the tokens of each split; not needed where the store gives the time."""
        return {name: self._tokens_of(benchmark) for name, benchmark in self.benchmarks.items()}

    def step(self, step: Step) -> float:
        """A step, by its kind's own words of what it reads."""
        before, after = self.rows[step.student], self.rows[step.id]
        seconds = START + 4 * (before.params + after.params) / BYTES
        if isinstance(step, Training):
            return seconds + self.training(step)
        if step.makes_vocabulary:
            seconds += self.text.seconds / DISTINCT + before.shape.vocab * ROW
        if isinstance(step, Finetune) and step.rows in self.benchmarks:
            seconds += self._tuning(self.rows_tokens[step.rows], before, step.epochs * len(step.learning_rates))
        if passes := step.calibration_passes(before.shape.layers):
            tokens = self.text.mean * passes
            seconds += tokens * clock.seconds_per_token(before.config, "read", threads())
        return seconds

    def training(self, step: Training) -> float:
        """Its text, its teacher, its own steps."""
        teacher = self.rows.get(step.parents.get("teacher", ""))
        seconds = self.part(step.part).seconds * (2 if step.windows else 1) + self.learning(step)
        if teacher is None or not any(objective.needs_teacher for objective in step.objectives.values()):
            return seconds
        asked = self.tokens(step) if step.teacher_outputs == "live" else self.distinct(step)
        return seconds + asked * self._with_head(step, teacher, "teach")

    def learning(self, step: Training) -> float:
        """The student's own steps."""
        return self.tokens(step) * self._with_head(step, self.rows[step.student], "learn")

    def distinct(self, step: Training) -> float:
        """Tokens of the text that a training is made on; windows are as many again."""
        return self.part(step.part).tokens * (2 if step.windows else 1)

    def tokens(self, step: Training) -> float:
        """At most how many tokens a training reads."""
        if step.tokens is not None:
            asked = float(step.tokens)
        elif step.steps is not None:
            mean = min(step.max_length, self.part(step.part).mean)
            asked = step.steps * (step.batch_tokens or step.batch_size * mean)
        else:
            assert step.epochs is not None
            asked = step.epochs * self.distinct(step)
        return min(most for most in (asked, self.run.cap(step)) if most is not None)

    def _with_head(self, step: Training, model: "Planned", way: clock.Way) -> float:
        """Seconds for a token, with the masked-LM head where it is asked: as much more as it has more products."""
        seconds = clock.seconds_per_token(model.config, way, threads())
        needy = [o for o in step.objectives.values() if o.needs_lm_head and (way == "learn" or o.needs_teacher)]
        if not needy:
            return seconds
        share = step.mask_probability if all(objective.masked_only for objective in needy) else 1.0
        return seconds * (1 + share * model.params_embedding / (model.params_encoder - model.params_embedding))

    def evaluation(self, name: str) -> float:
        """Of the model of a step, or of `original`."""
        model, settings = self.rows[name], self.run.settings
        read = clock.seconds_per_token(model.config, "read", settings.threads)
        seconds = START + 4 * model.params / BYTES
        for of, benchmark in self.benchmarks.items():
            tokens = self.rows_tokens[of]
            if settings.mode in ("finetune", "adapter"):
                trials = len(settings.learning_rates) + len(settings.seeds) - 1
                seconds += self._tuning(tokens, model, settings.epochs * trials)
            else:
                judged = ("dev", "test") if settings.mode == "own" else SPLITS
                seconds += PADDED * read * sum(tokens[split] for split in judged)
            if settings.mode == "probe":
                seconds += self._heads(benchmark, model)
        if self.run.judges_vectors:
            seconds += read * self._vectors
        if model.head and settings.mode != "own":
            words = LANGUAGE_MODEL.lines * LANGUAGE_MODEL.words * 2
            seconds += read * words * self.text.mean
        return seconds

    def _tuning(self, tokens: Mapping[str, float], model: "Planned", epochs: int) -> float:
        """So many epochs at most on the train rows, each judged on dev."""
        read = clock.seconds_per_token(model.config, "read", self.run.settings.threads)
        return epochs * PADDED * read * (LEARNING * tokens["train"] + tokens["dev"])

    def _heads(self, benchmark: Benchmark, model: "Planned") -> float:
        settings = self.run.settings
        train = benchmark.splits["train"]
        units = len(train) if benchmark.kind == "classes" else sum(len(row[0]) for row in train)
        fits = len(settings.strengths) + len(settings.seeds) - 1
        each = clock.seconds_per_iteration(model.shape.hidden, len(benchmark.labels))
        return fits * min(PROBED_SHARE * units, settings.train_units) * ITERATIONS * each

    def _tokens_of(self, benchmark: Benchmark) -> dict[str, float]:
        rows = {
            split: [row.text if isinstance(row, Sentence) else " ".join(row.tokens) for row in benchmark.splits[split]]
            for split in SPLITS
        }
        return {split: self._tokens(texts) for split, texts in rows.items()}

    def _tokens(self, texts: Sequence[str]) -> float:
        return self._amount(texts[:: max(1, len(texts) // SAMPLE)], [len(text) for text in texts]).tokens

    @cached_property
    def _vectors(self) -> float:
        """Tokens whose vectors a model is judged by."""
        texts = texts_of_vectors(self.run, list(self.benchmarks.values()))
        pairs = [*texts.parallel.dev[0], *texts.parallel.test[0]] if texts.parallel else []
        topic = sum(self.rows_tokens["topic"][split] for split in ("train", "test")) if texts.topic else 0.0
        articles = [part for article in texts.articles for part in article]
        return topic + self._tokens([*texts.lines, *pairs, *articles])

    def _amount(self, sample: Sequence[str], lengths: Sequence[int]) -> Amount:
        """Of texts of these lengths, of which some are a sample."""
        tokens, seconds = clock.tokens_and_seconds(self._folder, sample)
        times = sum(lengths) / max(1, sum(map(len, sample)))
        return Amount(len(lengths), tokens * times + ENDS * len(lengths), seconds * times)

    @property
    def _folder(self) -> Path:
        return self.run.store.path(self.run.bundle_keys()[ORIGINAL])
