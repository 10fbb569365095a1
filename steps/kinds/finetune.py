"""finetune: from an encoder to a model of a task, by the loop that evaluation judges with."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ndogo.core.errors import NdogoError
from ndogo.evaluation.rows import kind_of
from ndogo.evaluation.settings import EvaluationSettings
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

UNKNOWN_LABELS = 2
"""So many are counted in a plan that knows no rows."""


class Finetune(Step):
    """Train all weights on labelled rows, under a head that answers in their labels; no test row is read."""

    kind: ClassVar[str] = "finetune"
    title: ClassVar[str] = "Fine-tune for a task"
    draws: ClassVar[bool] = True
    reads_rows: ClassVar[bool] = True
    keeps_vectors: ClassVar[bool] = False
    result: ClassVar[str] = "fine-tuned"

    benchmark: str
    """The task: sentiment, topic, ner or pos. A model that answers in its labels already goes on with its own head."""
    learning_rates: tuple[float, ...] = EvaluationSettings().learning_rates
    """Each is tried, and dev chooses."""
    epochs: int = Field(ge=1, default=10)
    """Passes over the rows, at most."""
    patience: int = Field(ge=1, default=3)
    """Stop after so many epochs without a better dev score, and keep the best."""
    batch_size: int = Field(ge=1, default=16)
    """Rows of an optimiser step."""
    max_length: int = Field(ge=8, default=256)
    """Tokens of a row; what is beyond is cut off."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the matrix products; bf16 is about twice as fast on recent processors."""

    @property
    def rows(self) -> str:
        """Those of the benchmark."""
        return self.benchmark

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The same encoder under another head."""
        from ndogo.core.task_heads import with_task

        kind = kind_of(self.benchmark)
        labels = planning.labels.get(self.benchmark) or [f"LABEL_{number}" for number in range(UNKNOWN_LABELS)]
        return with_task(config, "text" if kind == "classes" else "token", labels)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Train at each rate, and keep the one that dev chooses."""
        from ndogo.core.device import chosen
        from ndogo.core.models import copy_tokenizer, save
        from ndogo.evaluation.finetune import fine_tuned
        from ndogo.evaluation.judge import fixed
        from ndogo.evaluation.own import for_task

        if context.rows is None:
            raise NdogoError("Fine-tuning reads labelled rows, and there are none.", where=f"{self.kind}: {self.rows}")
        given = self.model_dump(exclude={"id", "student", "benchmark"})
        settings = EvaluationSettings(mode="finetune", seeds=(context.seed,), threads=context.threads, **given)
        encoder, benchmark = for_task(inputs["student"], context.rows(self.rows))
        with fixed(settings.threads):
            model, numbers = fine_tuned(encoder, benchmark, settings, context.report, chosen())
        save(model, out)
        copy_tokenizer(inputs["student"], out)
        return numbers
