"""The memory that a training step will need, from shapes alone."""

from transformers import PreTrainedConfig

from ndogo.compressors.distillation.settings import MICRO_TOKENS, TrainingSettings
from ndogo.core.architectures import shape_of

PROCESS = 600 * 2**20
"""What Python, torch and transformers take before any model is there."""


MOST_TOKENS, FEWEST_TOKENS = 65_536, 2_048
"""On a GPU, that go through the models at once; more than 65,536 was not tried."""
ROOM = 0.6
"""Of the card's memory: the rest is for what the kernels and the logits take."""


def micro_tokens(card: int | None, params: int, student: PreTrainedConfig, teacher: PreTrainedConfig | None) -> int:
    """Padded positions that go through the models at once: on a card of so many bytes as many as fit, as a power of two.

    It depends on the card's size and not on what is free, so that a training has the same parts whenever it runs.
    """
    if card is None:
        return MICRO_TOKENS["cpu"]
    shape = shape_of(student)
    held, each = 16 * params, 4 * shape.layers * (12 * shape.hidden + 3 * shape.ffn)
    if teacher is not None:
        guide = shape_of(teacher)
        held += 2 * (guide.vocab * guide.hidden + guide.layers * (4 * guide.hidden**2 + 2 * guide.hidden * guide.ffn))
        each += 4 * (8 * guide.hidden + guide.ffn)
    fit = max(1, int((ROOM * card - held) / each))
    return min(MOST_TOKENS, max(FEWEST_TOKENS, 1 << (fit.bit_length() - 1)))


def peak_training_bytes(
    settings: TrainingSettings, params: int, student: PreTrainedConfig, teacher: PreTrainedConfig | None
) -> int:
    """Predicted peak resident bytes of a training on the CPU, on text whose lines fill `max_length`.

    Student: weights, gradients and two moments in fp32. Teacher: weights once. Activations: what the backward pass keeps per
    token and layer. The vocabulary's share: logits of the scored positions, a chunk at a time.
    """
    shape = shape_of(student)
    tokens = min(settings.batch_tokens or settings.batch_size * settings.max_length, MICRO_TOKENS["cpu"])
    kept = tokens * shape.layers * (12 * shape.hidden + 3 * shape.ffn) * 4
    scored = max(1, int(tokens * settings.mask_probability))
    logits = min(scored, 512) * shape.vocab * 4 * 3
    total = PROCESS + 16 * params + kept + logits
    if teacher is not None:
        guide = shape_of(teacher)
        total += 4 * (guide.vocab * guide.hidden + guide.layers * (4 * guide.hidden**2 + 2 * guide.hidden * guide.ffn))
        total += tokens * (8 * guide.hidden + guide.ffn) * 4
    return total
