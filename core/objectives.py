"""What a student can be taught by: one frozen specification per objective, as a recipe writes them.

`objective: {mlm: 0.5, hidden: {weight: 1.0, map: uniform-last}}`: a number is the weight, a table the whole specification.
The formulas live in compressors/distillation/objectives/, one file each.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """A value: unknown keys refused, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Objective(Frozen):
    """One term of the loss."""

    weight: float = Field(gt=0, default=1.0)


Positions = Literal["masked", "all"]
Pair = tuple[int, int]
LayerMap = (
    Literal["last", "last-pair", "uniform", "uniform-first", "uniform-last", "consecutive", "all"] | tuple[Pair, ...]
)
"""Which teacher layers each student layer learns from; 1-based, 0 = the embeddings.

last: the teacher's last layers, one each; last-pair: only last to last; uniform: the last layer of each block of the teacher's,
uniform-first: the first of each; uniform-last: uniform and last together; consecutive: the whole block, ends included;
all: layer by layer, equal depths; or explicit (student, teacher) pairs."""


class Mlm(Objective):
    """Cross-entropy with the masked pieces."""


class LogitsKL(Objective):
    """T^2 x KL between the output distributions; forward is teacher || student."""

    temperature: float = Field(gt=0, default=1.0)
    direction: Literal["forward", "reverse"] = "forward"
    positions: Positions = "masked"


class LogitsMSE(Objective):
    """Mean squared error of the raw logits."""

    positions: Positions = "masked"


class LogitsCE(Objective):
    """Cross-entropy with the teacher's distribution as soft labels (the OD objective)."""

    positions: Positions = "masked"


class Hidden(Objective):
    """Mean squared error of hidden states, through a learned projection where widths differ."""

    map: LayerMap = "uniform-last"
    embeddings: bool = False
    """Also match the embedding output (state 0), as TinyBERT and BiStil do."""


class Relations(Objective):
    """MiniLMv2: divergence of query-query, key-key and value-value relations of one layer pair."""

    q: float = Field(ge=0, default=1 / 3)
    k: float = Field(ge=0, default=1 / 3)
    v: float = Field(ge=0, default=1 / 3)
    heads: int | None = Field(gt=0, default=None)
    """Relation heads; default: the largest number that both widths allow, at most the teacher's heads."""
    teacher_layer: int | None = None
    """1-based, negative from the end; default: the teacher's last."""

    @model_validator(mode="after")
    def _something(self) -> "Relations":
        if self.q + self.k + self.v <= 0:
            raise ValueError("one of q, k and v must be positive")
        return self


class Direct(Objective):
    """DirectMiniLM: mean squared error of the query, key and value vectors themselves, through learned projections."""

    teacher_layer: int | None = None


class AttentionScores(Objective):
    """TinyBERT: mean squared error of attention scores before softmax, layer by layer."""

    map: LayerMap = "uniform"


class AttentionMaps(Objective):
    """Mean squared error of attention probabilities (Comet, BiStil)."""

    map: LayerMap = "last-pair"
    heads: Literal["each", "mean"] = "mean"
    projection: Literal["none", "linear_flat", "per_row", "head_mix"] = "none"
    """What is learnt between the two sides; papers.md, P1. linear_flat needs a fixed `length`."""


class Cosine(Objective):
    """1 - cosine of the last hidden states (DistilBERT)."""


class Embedding(Objective):
    """Mean squared error of the embedding output."""


KINDS: dict[str, type[Objective]] = {
    "mlm": Mlm,
    "logits_kl": LogitsKL,
    "logits_mse": LogitsMSE,
    "logits_ce": LogitsCE,
    "hidden": Hidden,
    "relations": Relations,
    "direct": Direct,
    "attention_scores": AttentionScores,
    "attention_maps": AttentionMaps,
    "cosine": Cosine,
    "embedding": Embedding,
}
NEED_LM_HEAD = ("mlm", "logits_kl", "logits_mse", "logits_ce")
VOCABULARY_WIDE = ("logits_kl", "logits_mse", "logits_ce")
"""Objectives that compare teacher and student column by column: both need the same vocabulary."""


def _read_objectives(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"a table of objectives with weights is needed, such as {{mlm: 0.5, logits_mse: 0.5}}; got {value!r}"
        )
    read = {}
    for name, given in value.items():
        if name not in KINDS:
            raise ValueError(f"unknown objective `{name}`; allowed: {', '.join(KINDS)}")
        if isinstance(given, Objective):
            read[name] = given
            continue
        read[name] = KINDS[name].model_validate(given if isinstance(given, dict) else {"weight": given})
    return read


Objectives = Annotated[dict[str, Any], BeforeValidator(_read_objectives)]
"""Name -> specification, in the recipe's order."""
