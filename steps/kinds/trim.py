"""trim: keep the tokens that the language uses."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from ndogo.core.progress import Report
from ndogo.core.size import Size, resolve_size
from ndogo.core.text import WeightedLines
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ndogo.core.architectures import Shape


class Trim(Step):
    """Keep the tokens that a language uses, with a certificate of what was kept."""

    kind: ClassVar[str] = "trim"
    title: ClassVar[str] = "Trim the vocabulary"
    makes_vocabulary: ClassVar[bool] = True
    result: ClassVar[str] = "trimmed"

    size: Size | None = None
    """Ordinary tokens, forced ones and merge ancestors included; specials come on top. A number or a fraction."""
    coverage: float | None = Field(gt=0, le=1, default=None)
    """Instead of a size: the share of running tokens to cover."""
    multiple_of: int = Field(gt=0, default=1)
    """Round the number of rows up to a multiple, such as 64."""
    keep: tuple[str, ...] = ()
    """Tokens to keep whatever the corpus says."""

    @property
    def reads_text(self) -> bool:
        """Counting does."""
        return True

    @property
    def counts_rows(self) -> bool:
        """By coverage."""
        return self.size is None

    @model_validator(mode="after")
    def _one_target(self) -> "Trim":
        if (self.size is None) == (self.coverage is None):
            raise ValueError("give exactly one of size and coverage")
        return self

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The rows; by coverage as many as the text says, or their upper bound, the input's own, where it was not counted."""
        from ndogo.core.architectures import shape_of, with_shape

        found = shape_of(config).vocab
        if self.size is None:
            return with_shape(config, vocab=planning.rows(self) if planning.rows else found)
        rows = resolve_size(self.size, found - planning.specials) + planning.specials
        return with_shape(config, vocab=min(-(-rows // self.multiple_of) * self.multiple_of, found))

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Count, select, write, certify."""
        from ndogo.compressors.vocabulary import Wanted, trim

        wanted = Wanted(self.size, self.coverage, self.multiple_of, self.keep)
        return trim(inputs["student"], out, wanted, context.texts, context.report)

    def rows_kept(self, source: Path, texts: Sequence[WeightedLines], report: Report) -> int:
        """How many rows this trim keeps of a model directory's vocabulary, by counting the text.

        :raises NdogoError: a tokenizer, text or size that cannot be used.
        """
        from ndogo.compressors.vocabulary.counting import count_tokens
        from ndogo.compressors.vocabulary.selection import Wanted, select
        from ndogo.compressors.vocabulary.source import read_vocabulary
        from ndogo.core.models import load_config

        vocabulary = read_vocabulary(source, load_config(source))
        counts = count_tokens(vocabulary.backend, len(vocabulary.tokens), texts, report)
        wanted = Wanted(self.size, self.coverage, self.multiple_of, self.keep)
        return len(select(vocabulary, counts.weighted, wanted).kept)

    @classmethod
    def fitted(cls, given: dict[str, Any], whole: "Shape", wanted: "Shape", specials: int) -> dict[str, Any] | None:
        """The rows of the shape."""
        kept = {key: value for key, value in given.items() if key != "coverage"}
        return {**kept, "size": wanted.vocab - specials}
