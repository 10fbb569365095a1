"""How AdamW is told to learn: which weights decay, and the learning rate of each step."""

import torch


def rate_at(step: int, steps: int, warmup: float) -> float:
    """The share of the full learning rate at a step (0-based): linear up to 1, then linear down to almost 0."""
    rise = int(warmup * steps)
    return (step + 1) / (rise + 1) if step < rise else (steps - step) / max(1, steps - rise)


def groups(parameters: dict[str, torch.nn.Parameter], decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases and norms do not."""
    matrices = [p for p in parameters.values() if p.dim() > 1]
    others = [p for p in parameters.values() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
