"""How long and how a training learns: plain settings, read without torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ndogo.core.frozen import Given, Later

MICRO_TOKENS = {"cpu": 4096, "cuda": 32768}
"""Padded positions that go through the models at once; a larger batch is done in parts, with the same gradient."""


class TrainingSettings(Given):
    """How long, in exactly one unit, and how."""

    epochs: float | None = Field(gt=0, default=None)
    """Passes over the text."""
    steps: int | None = Field(gt=0, default=None)
    """Instead of epochs: optimiser steps."""
    tokens: int | None = Field(gt=0, default=None)
    """Instead of epochs: tokens to read."""
    learning_rate: float = Field(gt=0, default=5e-5)
    """Of AdamW; it rises during the warm-up and then falls to 0."""
    batch_size: int = Field(gt=0, default=32)
    """Sequences per optimiser step, over all devices."""
    max_length: int = Field(ge=8, default=128)
    """Tokens per sequence; longer lines become several."""
    warmup: float = Field(ge=0, lt=1, default=0.0)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(ge=0, default=0.0)
    """Of matrices; biases and norms do not decay."""
    mask_probability: float = Field(ge=0, lt=1, default=0.15)
    """Share of the tokens that are masked."""
    clip: float | None = Field(gt=0, default=1.0)
    """Largest norm of the gradient."""
    patience: int | None = Field(gt=0, default=None)
    """Stop after so many held-out evaluations without improvement, and keep the best."""
    dropout: float | None = Field(ge=0, lt=1, default=None)
    """While training; default: as the student's configuration says. The configuration is never changed."""
    seed_offset: int = 0
    """Added to the run's seed, so that two trainings of one recipe see other masks."""
    teacher_outputs: Annotated[Literal["live", "fp16", "int8"], Later()] = "live"
    """live: the teacher reads every batch anew. fp16, int8: what it says of each row of text is computed once and kept in this
    type, for all epochs and other trainings; needs mask_probability 0."""

    @model_validator(mode="after")
    def _kept_reads_no_masks(self) -> "TrainingSettings":
        if self.teacher_outputs != "live" and self.mask_probability:
            raise ValueError(
                f"teacher_outputs: {self.teacher_outputs} keeps what the teacher says of the text as it is; "
                f"with mask_probability: {self.mask_probability:g} it reads other text every time: set it to 0, or keep to live"
            )
        return self

    windows: Annotated[tuple[int, int] | None, Later()] = None
    """Beside the lines as many tokens again in windows of so many tokens, such as [24, 96], cut out of the shuffled text at
    any place; half of the lines with one of the model's own prompts, such as `query: `, in front. Batches are of one length."""
    batch_tokens: Annotated[int | None, Field(gt=0), Later()] = None
    """Tokens per optimiser step, in batches of one length, in place of batch_size."""

    adam_beta2: Annotated[float, Field(gt=0, lt=1), Later()] = 0.999
    """How slowly AdamW forgets the size of gradients: 0.98 follows them where they differ much from batch to batch."""
    head_only: Annotated[bool, Later()] = False
    """Train the masked-LM head alone: the encoder and its word embeddings stay as they are."""

    deterministic: Annotated[bool, Later()] = True
    """false: on a GPU take the fastest kernels, whose last digits differ from run to run; on the CPU it changes nothing."""

    @model_validator(mode="after")
    def _windows_fit(self) -> "TrainingSettings":
        if self.windows is not None and not 8 <= self.windows[0] <= self.windows[1] <= self.max_length:
            raise ValueError(f"windows go from 8 tokens to max_length, {self.max_length}; got {list(self.windows)}")
        return self

    @model_validator(mode="after")
    def _one_unit(self) -> "TrainingSettings":
        given = [unit for unit in ("epochs", "steps", "tokens") if getattr(self, unit) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of epochs, steps and tokens; got {', '.join(given) or 'none'}")
        return self
