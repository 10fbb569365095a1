"""From a chosen shape to the recipe that makes it: another recipe's steps and trainings, with the sizes of that shape."""

from typing import Any

import yaml
from transformers import PreTrainedConfig

from ndogo.compressors.budget import Candidate, Limit
from ndogo.core.architectures import shape_of
from ndogo.core.download import SIZE_TYPE
from ndogo.steps.step import kinds


def recipe_text(base: str, name: str, limit: Limit, chosen: Candidate, config: PreTrainedConfig) -> str:
    """The recipe that makes a candidate of a teacher with `config`; `base` is the text of the recipe whose steps are taken.

    A cut of nothing is left out, and so is a distillation where nothing was cut since the last training.
    """
    raw, shape, known = yaml.safe_load(base), chosen.shape, kinds()
    steps: list[dict[str, Any]] = []
    trained = True
    for entry in raw["steps"]:
        ((kind, given),) = entry.items()
        fitted = known[kind].fitted(dict(given), shape_of(config), shape, chosen.vocabulary.specials)
        if fitted is None or (known[kind].roles and trained):
            continue
        steps.append({kind: fitted})
        trained = known[kind].trains
    about = f"{limit.text}: {shape.layers} layers of {shape.hidden}, FFN {shape.ffn}, {shape.vocab:,} rows"
    budget = _budget(limit, chosen)
    content = {"name": name, "about": about, "evaluate": raw.get("evaluate", "ends"), **budget, "steps": steps}
    head = f"# Made by `ndogo budget` for {limit.text}, from {raw['name']}'s steps and trainings.\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _budget(limit: Limit, chosen: Candidate) -> dict[str, Any]:
    """The limit as the nightly gate holds it: MB there are of one type, so those of another become parameters."""
    if limit.kind == "ms":
        return {}
    if limit.kind == "size_mb" and limit.dtype == SIZE_TYPE:
        return {"budget": {"size_mb": limit.most}}
    return {"budget": {"params": int(limit.most) if limit.kind == "params" else chosen.params}}
