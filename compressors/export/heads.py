"""What a file answers: the head of a model directory, and the module that gives its outputs by name.

Legend: B texts, L tokens, H hidden width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PreTrainedModel

from ndogo.compressors.export.sentence import is_sentence_folder, sentence_modules
from ndogo.core.errors import NdogoError
from ndogo.core.exported import HIDDEN, MIDDLE
from ndogo.core.models import load_model

Head = Literal["none", "mlm", "vectors", "classes", "tags"]

ANSWERS: dict[Head, str] = {
    "none": HIDDEN, "mlm": "logits", "vectors": "sentence_embedding", "classes": "logits", "tags": "logits",
}  # fmt: skip
"""The output that a head is there for."""

ENDINGS: dict[str, Head] = {
    "ForMaskedLM": "mlm",
    "ForSequenceClassification": "classes",
    "ForTokenClassification": "tags",
    "Model": "none",
}
"""How the name of a model's class says its head."""


@dataclass
class Exportable:
    """A model directory made ready: its head, the module that is exported, and the model itself."""

    head: Head
    module: nn.Module
    model: PreTrainedModel
    outputs: list[str] = field(default_factory=list)
    """Names of what the module gives, in order; the last is MIDDLE, which files keep inside."""


class WithStates(nn.Module):
    """A model that answers with its head's output (where it has a head), the last states and the middle ones."""

    def __init__(self, model: nn.Module, answer: Callable[[Any, Tensor], Tensor] | None) -> None:
        super().__init__()
        self.model = model
        self.after = answer if isinstance(answer, nn.Module) else None
        self.answer = answer

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Ids and mask (B, L) to the outputs."""
        found = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        layers = found.hidden_states
        states = (getattr(found, HIDDEN, layers[-1]), layers[len(layers) // 2])
        return states if self.answer is None else (self.answer(found, attention_mask), *states)


class SentenceVectors(nn.Module):
    """Pooling and what follows it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.pooling, after = sentence_modules(path)
        self.rest = nn.Sequential(*after)

    def forward(self, found: Any, attention_mask: Tensor) -> Tensor:
        """A model's output and the mask (B, L) to vectors."""
        vectors: Tensor = self.rest(self.pooling(found.last_hidden_state, attention_mask))
        return vectors


def _logits(found: Any, _: Tensor) -> Tensor:
    logits: Tensor = found.logits
    return logits


def exportable(path: Path) -> Exportable:
    """Load a model directory strictly and see what it answers.

    :raises NdogoError: it does not load, or its head is not known.
    """
    model = load_model(path)
    model.config._attn_implementation = "eager"  # plain MatMul and Softmax: the graph that runtimes optimise best
    head = "vectors" if is_sentence_folder(path) else _head_of(type(model).__name__, path)
    if head == "vectors":
        bare = model.base_model
        module = WithStates(bare, SentenceVectors(path))
    else:
        module = WithStates(model, None if head == "none" else _logits)
    outputs = [HIDDEN, MIDDLE] if head == "none" else [ANSWERS[head], HIDDEN, MIDDLE]
    return Exportable(head, module.eval(), model, outputs)


def _head_of(name: str, path: Path) -> Head:
    for ending, head in ENDINGS.items():
        if name.endswith(ending):
            return head
    raise NdogoError(
        f"A `{name}` cannot be exported: its head is not known.",
        where=f"{path / 'config.json'}: architectures",
        cure=f"Known are classes that end with {', '.join(ENDINGS)}, and sentence-transformers folders.",
    )
