"""What a bundle's step.json says, field by field. A file of another form counts as damaged."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ndogo.core.frozen import Frozen


class Sizes(BaseModel):
    """A model's distinct parameters (tied weights once), and what a user downloads (`core.download`)."""

    model_config = ConfigDict(frozen=True)
    params: int
    params_encoder: int
    """The bare encoder with its pooler."""
    params_embedding: int
    params_dense: int | None = None
    """Of the dense layers behind the pooling of an embedding model, which do not count in `params`."""
    size_mb: float


class Numbers(Sizes):
    """What was measured while a bundle was made; a step adds numbers of its own (`model_extra`)."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]
    seconds: float
    tokens: int | None = None
    """Read by a training."""
    ratio_to_parent: float | None = None
    ratio_to_teacher: float | None = None

    def found(self) -> dict[str, JsonValue]:
        """All numbers that there are, by name."""
        return self.model_dump(mode="json", exclude_unset=True)


class BundleDetails(Frozen):
    """The content of step.json: what was asked, what came of it, and the hash of every other file."""

    step: str
    key: str
    version: int
    spec: dict[str, JsonValue]
    parents: dict[str, str]
    """The parents' keys by role."""
    corpus: str
    seed: int | None
    tokens: int | None
    """The cap on training tokens that was asked for."""
    rows: str = ""
    """Fingerprint of the labelled rows that it learnt from."""
    sources: dict[str, str] = Field(default_factory=dict)
    """What of it came from the hub: each repository at the commit that was read. No part of the key, which goes by content."""
    numbers: Numbers
    files: dict[str, str]
    libraries: dict[str, str]
    commit: str
