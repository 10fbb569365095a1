"""What a step is: a specification with docs, the planning of its result, and the making of it.

A kind of step is one file in kinds/: a subclass of `Step`. Recipes, the planner, the pipeline, the command line and its help loop
over `kinds()`. A field of the class is a key in a recipe and an option of the command, and the line below it is their help.
`version` is bumped by hand when the code of a step changes what it makes: it is part of the bundle's key.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Given
from ndogo.core.progress import Report, silent
from ndogo.core.sentences import MODULES, copy_sentence_files
from ndogo.core.text import Lines, WeightedLines
from ndogo.core.threads import threads, warn_if_busy

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ndogo.core.architectures import Shape
    from ndogo.evaluation.rows import Benchmark
    from ndogo.steps.plan import Planned

Inputs = Mapping[str, Path]
"""The directories that a step works on, by role: `student` is the model that it changes."""
Numbers = Mapping[str, Any]
"""What a step measured while it worked, by name."""


@dataclass(frozen=True)
class Context:
    """All that a step may use beside its specification and its inputs."""

    texts: tuple[WeightedLines, ...] = ()
    """The text of the language; several where several corpora are given, each with its weight."""
    held_out: Lines | None = None
    """Lines that occur in no training text."""
    fingerprint: str = ""
    """Names the text: training does not go on from a checkpoint that was made on another."""
    seed: int = 0
    token_cap: int | None = None
    """Train on at most so many tokens (the pocket profile)."""
    work: Path = Path()
    """A folder for checkpoints and the like; it outlives a kill. Whoever made it removes it."""
    report: Report = silent
    rows: "Callable[[str], Benchmark] | None" = None
    """The labelled rows of a benchmark, by its name."""
    teacher_cache: Path | None = None
    """Where what teachers say is kept for other steps too; None: in `work`."""
    threads: int = field(default_factory=threads)

    @property
    def lines(self) -> Lines | None:
        """The text of all corpora, one after the other; None where there is none."""
        return self._all if self.texts else None

    def _all(self) -> Iterator[str]:
        for text in self.texts:
            yield from text.lines()


@dataclass(frozen=True)
class Planning:
    """What a step is told while a recipe is planned, before any weight is loaded."""

    where: str
    """Names the step in messages."""
    specials: int = 0
    """Tokens that a trim keeps on top of its size."""
    inputs: Mapping[str, "Planned"] = field(default_factory=dict)
    """The planned models that it works on, by role."""
    scaled: bool = False
    """Whether lengths are cut to what the model reads (the pocket profile)."""
    rows: "Callable[[Step], int] | None" = None
    """How many rows a trim by coverage keeps of the teacher's vocabulary, where the text can be counted."""

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Those of the benchmarks that the recipe reads, by the benchmark's name, where there are rows to read."""


class Step(Given):
    """What all kinds have in common."""

    kind: ClassVar[str]
    """The word in a recipe; in the shell with dashes."""
    version: ClassVar[int] = 1
    title: ClassVar[str]
    """In a few words what it does, for Prefect's pages."""
    roles: ClassVar[Mapping[str, str]] = {}
    """Other models that it reads: role -> help. A recipe names the step, the shell the directory."""
    hints: ClassVar[Mapping[str, str]] = {}
    """Earlier results that save it work and change nothing, in the shell only: role -> help."""
    trains: ClassVar[bool] = False
    """Whether it is a training: it takes long, is resumed, and counts against the limit of GPU steps."""
    draws: ClassVar[bool] = False
    """Whether the result depends on the run's seed."""
    makes_model: ClassVar[bool] = True
    """Whether its model is another than its student's; else it only adds to it, and is not what a recipe ends with."""
    makes_vocabulary: ClassVar[bool] = False
    reads_rows: ClassVar[bool] = False
    """Whether it learns from labelled rows, those that `rows` names."""
    keeps_vectors: ClassVar[bool] = True
    """Whether its model is still an embedding model where its student is one."""
    result: ClassVar[str] = ""
    """What its model is to the reader of a report, where it is something of its own: adapted, trimmed."""

    id: str = Field(default="", pattern=r"^[a-z0-9_-]*$")
    """How other steps call it; default: its kind."""
    student: str = ""
    """The step whose result this one changes; default: the step before it."""

    @property
    def parents(self) -> dict[str, str]:
        """The ids of the steps that it needs, by role."""
        return {role: getattr(self, role) for role in ("student", *self.roles)}

    @property
    def cuts(self) -> bool:
        """Whether it only takes away from layers and widths, so that a training repairs it."""
        return self.makes_model and not self.trains and not self.result

    @property
    def reads_text(self) -> bool:
        """Whether the result depends on the corpus."""
        return self.trains

    @property
    def part(self) -> int | Fraction | None:
        """How much of each language's training text it reads: so many lines, or a share of them; None: all."""
        return None

    @property
    def rows(self) -> str:
        """The benchmark whose train and dev rows the result depends on."""
        return ""

    @property
    def counts_rows(self) -> bool:
        """Whether how many rows it keeps is known only when the text was counted."""
        return False

    def calibration_passes(self, layers: int) -> int:
        """For forecasts: how many lines of text its student, of so many layers, reads before it is changed, each counted once for
        every pass.
        """
        return 0

    @property
    def needs_text(self) -> bool:
        """Whether there must be a corpus."""
        return self.reads_text

    def content(self) -> dict[str, Any]:
        """What the result depends on: the numbers, not the names within a recipe."""
        return self.model_dump(mode="json", exclude={"id", "student", *self.roles})

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The configuration of its result, from that of its student; the input is left untouched.

        :raises NdogoError: it cannot be done to this model.
        """
        raise NotImplementedError

    def peak_bytes(self, planned: "Planned", planning: Planning) -> int | None:
        """The memory that it will need, where it says so."""
        return None

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Fill the empty folder `out` with the result, and give the numbers that were measured; `inputs` are left untouched.

        :raises NdogoError: whatever does not fit.
        """
        raise NotImplementedError

    def within(self, minutes: float, inputs: Inputs, context: Context) -> "Step":
        """The same step, as long as so many minutes take on this machine; only trainings can say."""
        raise NdogoError(f"{self.kind} has no length to choose.", where="minutes")

    @classmethod
    def fitted(cls, given: dict[str, Any], whole: "Shape", wanted: "Shape", specials: int) -> dict[str, Any] | None:
        """The keys of a recipe, changed so that the step brings a model of shape `whole` to `wanted` in its own dimension; None
        where there is nothing to cut.
        """
        return given


def make(step: Step, inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
    """Make a step's result with a fixed number of threads; what sentence-transformers keeps beside the student stays."""
    import torch

    warn_if_busy(context.threads)
    torch.set_num_threads(context.threads)
    numbers = {"threads": context.threads, **step.make(inputs, out, context)}
    if step.keeps_vectors and not (out / MODULES).is_file():  # else the step itself said how its vectors are made
        dropped = copy_sentence_files(inputs["student"], out)
        numbers |= {"dense_dropped": dropped} if dropped else {}
    return numbers


def kinds() -> dict[str, type[Step]]:
    """Every kind of step by its name: the files of kinds/, and whatever else is a subclass by then."""
    from ndogo.steps import kinds as folder

    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"{folder.__name__}.{module.name}")
    found = {step.kind: step for step in _subclasses(Step) if "kind" in vars(step)}
    return dict(sorted(found.items()))


def _subclasses(of: type[Step]) -> Iterator[type[Step]]:
    for child in of.__subclasses__():
        yield child
        yield from _subclasses(child)


def at_most(size: int, found: int, what: str, where: str) -> None:
    """Refuse a size that is larger than what the step finds.

    :raises NdogoError: it is.
    """
    if not 0 < size <= found:
        raise NdogoError(
            f"{size} was asked for {what}, but the step finds {found}.", where=where, cure=f"Allowed: 1 to {found}."
        )


def divisible(size: int, of: int, key: str, where: str, name: str) -> None:
    """Refuse a size that is no multiple of what it is divided among.

    :raises NdogoError: it is none; the nearest allowed ones are named.
    """
    if size % of:
        near = sorted({max(of, size // of * of), (size // of + 1) * of})
        raise NdogoError(
            f"{key}: {size} is no multiple of the {name}, {of}.",
            where=f"{where}.{key}",
            cure=f"Nearest allowed: {' or '.join(map(str, near))}.",
        )
