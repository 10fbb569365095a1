"""What the steps that train have in common: for how long, how, and what that takes."""

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ndogo.compressors.distillation.objective import Objective
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Later
from ndogo.core.size import Size
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ndogo.compressors.distillation.run import TrainingRun
    from ndogo.steps.plan import Planned


SCALED_STEPS = 200
"""A capped training has at least so many steps, however many tokens its batches were to have."""


class Training(Step, TrainingSettings):
    """A step that trains; the shape of the model stays."""

    trains: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    lines: Annotated[Size | None, Later()] = None
    """How much of each language's text to read, spread evenly over it: so many lines, or a share such as 1/10; default: all."""

    @property
    def part(self) -> int | Fraction | None:
        """Its lines."""
        part: int | Fraction | None = self.lines
        return part

    @property
    def objectives(self) -> dict[str, Objective]:
        """The terms of the loss, by name."""
        raise NotImplementedError

    @property
    def shapes_vectors(self) -> bool:
        """Whether it teaches the vectors of whole texts."""
        return any(objective.shapes_vectors for objective in self.objectives.values())

    def settings(self) -> TrainingSettings:
        """How long and how, without what makes it a step."""
        return TrainingSettings(**{name: getattr(self, name) for name in TrainingSettings.model_fields})

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The same configuration; lengths and vocabularies must fit."""
        from ndogo.core.architectures import check_listed, positions

        check_listed(config, "train it")
        needy = [name for name, objective in self.objectives.items() if objective.needs_lm_head]
        for role, planned in planning.inputs.items():
            mine = needy if role == "student" else [n for n in needy if self.objectives[n].needs_teacher]
            if mine and not planned.head:
                self._refuse_headless(mine[0], planned.id, planning.where)
        if self.max_length > positions(config) and not planning.scaled:
            raise NdogoError(
                f"The model reads at most {positions(config)} positions, and max_length is {self.max_length}.",
                where=f"{planning.where}.max_length",
                cure=f"Use {positions(config)} or less.",
            )
        return config

    def _refuse_headless(self, objective: str, model: str, where: str) -> None:
        raise NdogoError(
            f"The objective `{objective}` needs a masked-LM head, and `{model}` is a bare encoder without one.",
            where=f"{where}.objective: {objective}",
            cure="Use objectives on encoder states, such as hidden, direct or sentence.",
        )

    def peak_bytes(self, planned: "Planned", planning: Planning) -> int | None:
        """Of the training, on text whose lines fill `max_length`."""
        from ndogo.compressors.memory import peak_training_bytes

        guide = planning.inputs.get("teacher")
        return peak_training_bytes(self.settings(), planned.params, planned.config, guide.config if guide else None)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Train; killed and called again with the same work folder, it goes on from the last checkpoint."""
        from ndogo.compressors.distillation.train import train
        from ndogo.core.architectures import positions
        from ndogo.core.models import load_config

        settings = self.settings()
        if context.token_cap is not None:
            longest = min(self.max_length, positions(load_config(inputs["student"])))
            settings = _scaled(settings, longest, context.token_cap)
        return train(inputs["student"], inputs.get("teacher"), out, settings, self.objectives, self._run(context))

    def within(self, minutes: float, inputs: Inputs, context: Context) -> "Training":
        """The same training with as many steps as fit into so many minutes on this machine, measured once.

        :raises NdogoError: no such time.
        """
        from ndogo.compressors.distillation.train import steps_in_minutes

        if not (math.isfinite(minutes) and minutes > 0):
            raise NdogoError(
                f"{minutes} minutes are no time to train.", where="--minutes", cure="Give a number above 0."
            )
        models = inputs["student"], inputs.get("teacher")
        steps = steps_in_minutes(*models, self.settings(), self.objectives, self._run(context), minutes)
        return self.model_copy(update={"steps": steps, "epochs": None, "tokens": None})

    def _run(self, context: Context) -> "TrainingRun":
        from ndogo.compressors.distillation.run import TrainingRun

        if context.lines is None:
            raise NdogoError("A training reads text, and there is none.", where=f"{self.kind}: corpus")
        given: dict[str, Any] = {
            "lines": context.lines,
            "fingerprint": context.fingerprint,
            "held_out": context.held_out,
        }
        return TrainingRun(
            **given,
            work=context.work,
            seed=context.seed,
            token_cap=context.token_cap,
            report=context.report,
            teacher_cache=context.teacher_cache,
        )


def _scaled(settings: TrainingSettings, longest: int, token_cap: int) -> TrainingSettings:
    """The settings for lines of at most `longest` tokens, and of batches for so few tokens."""
    changed: dict[str, Any] = {"max_length": longest}
    if settings.windows is not None:
        changed["windows"] = tuple(min(length, longest) for length in settings.windows)
    if settings.batch_tokens is not None:
        changed["batch_tokens"] = min(settings.batch_tokens, max(longest, token_cap // SCALED_STEPS))
    return settings.model_copy(update=changed)
