"""export: files that run without torch, each compared with the model, and a page for the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Dtype = Literal["fp32", "fp16", "int8"]


class Export(Step):
    """Write ONNX files that run without torch, each compared with the model, and a page for the browser."""

    kind: ClassVar[str] = "export"
    version: ClassVar[int] = 3
    title: ClassVar[str] = "Export"
    makes_model: ClassVar[bool] = False

    to: Literal["onnx"] = "onnx"
    """The format."""
    dtype: Annotated[
        tuple[Dtype, ...],
        BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
        Field(min_length=1),
    ] = ("fp32", "int8")
    """One or several of fp32, fp16 and int8, with a comma between; the smallest good one is the default file."""
    lines: int = Field(ge=1, default=64)
    """Lines on which each file is compared with the model."""
    agreement: float = Field(ge=0, le=1, default=0.8)
    """A file that makes a smaller share of the model's own predictions is marked, and is not the default."""
    web: bool = False
    """Add web/, a folder for any static server: the default file in a page, with no other server behind it."""

    @property
    def reads_text(self) -> bool:
        """Files are compared on it, and the page shows some of it."""
        return True

    @property
    def needs_text(self) -> bool:
        """Without a corpus, lines are drawn from the vocabulary."""
        return False

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The model stays as it is."""
        return config

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Write, compare, and add the page."""
        from ndogo.compressors.export import Settings, export, lines_to_compare, page
        from ndogo.core.exported import WEB

        text = context.held_out or context.lines
        settings = Settings(tuple(dict.fromkeys(self.dtype)), self.lines, self.agreement)
        numbers = export(inputs["student"], out, settings, text, context.report)
        if self.web:
            page(out, out / WEB, lines_to_compare(text, self.lines))
        return numbers
