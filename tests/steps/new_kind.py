"""A step kind that Ndogo does not bring, whole in one file: `test_a_new_kind.py` says what it can do."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step


class Quieten(Step):
    """Scale the weights of the word embedding."""

    kind: ClassVar[str] = "quieten"
    title: ClassVar[str] = "Quieten the embedding"

    factor: float = Field(gt=0, default=0.5)
    """What the weights are multiplied by."""

    def plan(self, config, planning: Planning):
        return config

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        from ndogo.core.models import copy_tokenizer, load_model, save

        model = load_model(inputs["student"])
        model.get_input_embeddings().weight.data *= self.factor
        save(model, out)
        copy_tokenizer(inputs["student"], out)
        return {"factor": self.factor}
