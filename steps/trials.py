"""What a teacher loses in a shape, measured: it is cut as the recipe cuts it, with no training, and asked about other text.

Of a teacher with a masked-LM head that is bits per byte, which no vocabulary flatters; of a bare encoder the share of its
words' states that is lost. Rows go last, so one narrow model serves every vocabulary, and shapes share cuts.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ndogo.compressors.budget import Candidate, Limit, Rows
from ndogo.compressors.calibration import final_states, sample_lines, to_batches
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.compressors.vocabulary.trimming import write_trimmed
from ndogo.core.architectures import shape_of
from ndogo.core.models import load_config, load_model, load_tokenizer, weights_digest
from ndogo.core.progress import silent
from ndogo.core.text import Lines, WeightedLines
from ndogo.core.threads import threads
from ndogo.evaluation.judge import versions
from ndogo.evaluation.language_model import dropped_columns, language_model_quality
from ndogo.evaluation.settings import LanguageModelSettings
from ndogo.evaluation.word_states import WordStates
from ndogo.steps.fitting import recipe_text
from ndogo.steps.recipe import parse_recipe
from ndogo.steps.step import Context, Step

CALIBRATION = 100
"""Lines on which layers, neurons and channels are chosen."""
FITTED = 1000
"""Lines of training text on which the numbers of tokens per word, or a map of states, are fitted."""
JUDGED = LanguageModelSettings(lines=150, words=4, fitted=FITTED)
"""How much other text is asked about."""
PASSES = 12
"""What a trial costs beside the choice of layers, in passes of the whole teacher over the calibration text."""
VERSION = 1
"""Bumped by hand when the code changes what a trial finds."""


@dataclass(frozen=True)
class Trials:
    """Cuts of one teacher, each measured alike, in a folder of their own."""

    teacher: Path
    base: str
    """The text of the recipe whose cuts are taken."""
    headless: bool
    choices: Sequence[Rows]
    """Every vocabulary of which one may be asked."""
    lines: Lines
    validation: Lines
    """Text that no training reads and no judging either."""
    fingerprint: str
    """Of both texts."""
    work: Path

    def depends(self, candidate: Candidate) -> dict[str, object]:
        """All that a candidate's loss depends on."""
        rows = hashlib.sha256(repr((candidate.vocabulary.kept, self._widest_rows)).encode()).hexdigest()
        cuts = [{"kind": step.kind, "version": step.version} | step.content() for step in self.steps(candidate)]
        texts = {"text": self.fingerprint, "calibration": CALIBRATION, "judged": JUDGED.model_dump(exclude={"threads"})}
        made = {"teacher": self._digest, "headless": self.headless, "cuts": cuts, "rows": rows}
        return made | texts | {"version": VERSION, "libraries": versions()}

    def seconds(self, asked: Sequence[Candidate]) -> float:
        """About how long so many trials take here: one pass of the teacher over the calibration text is timed."""
        model, tokenizer = load_model(self._widest), load_tokenizer(self._widest)
        batches = to_batches(self._sample[:CALIBRATION], tokenizer, masked=False)
        started = time.monotonic()
        with torch.inference_mode():
            for batch in batches:
                final_states(model, batch)
        depths = {candidate.shape.layers for candidate in asked}
        return (time.monotonic() - started) * (PASSES * len(asked) + len(depths) * shape_of(model.config).layers)

    def loss(self, candidate: Candidate) -> float:
        """Bits per byte straight after the cut, or of a bare encoder the share of its words' states that is lost.

        :raises NdogoError: a text, a tokenizer or a cut that cannot be used.
        """
        small = self.work / "small"
        try:
            self.cut(candidate, small)
            return self.judge(small, candidate.vocabulary)
        finally:
            shutil.rmtree(small, ignore_errors=True)

    def cut(self, candidate: Candidate, out: Path) -> None:
        """Write the teacher in a candidate's shape into `out`, a folder that is not there yet.

        :raises NdogoError: a text, a tokenizer or a cut that cannot be used.
        """
        place = {old: new for new, old in enumerate(self._widest_rows)}
        self._write(self._narrow(candidate), out, [place[old] for old in candidate.vocabulary.kept])

    def trim(self, candidate: Candidate, out: Path) -> None:
        """Write the whole teacher with a candidate's rows into `out`, a folder that is not there yet."""
        self._write(self.teacher, out, candidate.vocabulary.kept)

    def steps(self, candidate: Candidate) -> list[Step]:
        """The recipe's cuts of layers and widths to a candidate's shape."""
        limit, config = Limit("params", candidate.params, "trial"), load_config(self.teacher)
        made = parse_recipe(recipe_text(self.base, "trial", limit, candidate, config)).steps
        return [step for step in made if step.cuts]

    @cached_property
    def _sample(self) -> list[str]:
        return sample_lines(self.lines, FITTED)

    @cached_property
    def _digest(self) -> str:
        return weights_digest(self.teacher)

    @cached_property
    def _widest_rows(self) -> list[int]:
        """The rows of every vocabulary."""
        return sorted({i for choice in self.choices for i in choice.kept})

    @cached_property
    def _widest(self) -> Path:
        """The teacher with these rows."""
        folder = self.work / "widest"
        self._write(self.teacher, folder, self._widest_rows)
        return folder

    def _write(self, source: Path, out: Path, kept: Sequence[int]) -> None:
        out.mkdir(parents=True)
        write_trimmed(source, out, read_vocabulary(source, load_config(source)), kept)

    def _narrow(self, candidate: Candidate) -> Path:
        """A folder with the candidate's layers and widths, and all rows; cuts that were made before are found."""
        folder, name = self._widest, ""
        text = WeightedLines(lambda: iter(self._sample[:CALIBRATION]))
        for step in self.steps(candidate):
            name += json.dumps(step.content())
            made = self.work / hashlib.sha256(name.encode()).hexdigest()[:20]
            if not made.is_dir():
                draft = self.work / "draft"
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                step.make({"student": folder}, draft, Context(texts=(text,), work=self.work / "cut"))
                draft.rename(made)
            folder = made
        return folder

    @cached_property
    def judge(self) -> Callable[[Path, Rows], float]:
        """Says what a model with some rows loses."""
        settings = JUDGED.model_copy(update={"threads": threads()})
        if self.headless:
            states = WordStates(
                self.teacher, self._sample, sample_lines(self.validation, settings.lines), settings.threads
            )
            return lambda model, _rows: states.lost(model)
        sample, dropped = self._sample, dict[int, float]()

        def bits(model: Path, rows: Rows) -> float:
            if rows.rows not in dropped:
                dropped[rows.rows] = dropped_columns(self.teacher, rows.kept, self.validation, settings)
            training = [lambda: iter(sample)]
            found = language_model_quality(
                model, self.validation, training, settings, silent, dropped=dropped[rows.rows]
            )
            return found.bits_per_byte

        return bits
