"""What a text tells of each teacher: how its tokenizer splits it, which rows it needs, and what each recipe would leave.

Only tokenizers and configurations are read: no weights, and nothing from the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ndogo.compressors.vocabulary.counting import TokenCounts, count_tokens
from ndogo.compressors.vocabulary.selection import Wanted, select, surface
from ndogo.compressors.vocabulary.source import Vocabulary, read_vocabulary
from ndogo.core.architectures import architecture_of
from ndogo.core.directories import TOKENIZER_FILES
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.registry.recipes import recipe
from ndogo.registry.survey import Survey
from ndogo.registry.teachers import teacher, teacher_names
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.plan import plan
from ndogo.steps.recipe import Recipe
from ndogo.steps.step import Step

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

COVERAGES = (0.99, 0.9995)
"""Shares of running tokens for which the rows are counted; the recipes of ours take the last."""
RECIPES = ("ndogo-small", "ndogo-base", "ndogo-tiny", "two-step", "trim-only")
VECTOR_RECIPES = ("ndogo-embed-small", "ndogo-embed-tiny", "ndogo-embed-micro", "trim-only")
"""Those whose results are foretold, of masked-LM teachers and of bare encoders, the one to begin with first."""
ALL, SOME, NONE = "all steps", "trim and truncate only", "no"
HEADS = ("ForMaskedLM", "ForPreTraining")
STUDENT_READ, TEACHER_READ = 150_000, 1_500_000
"""Tokens that the race on real text (docs/recipes.md) gave its students, at the least, and those that adapted its teacher."""
VOCABULARIES = tuple(
    name for name in TOKENIZER_FILES if name.endswith((".model", "vocab.txt", "vocab.json", "tokenizer.json"))
)
"""The files of a tokenizer without which the others say nothing."""


@dataclass(frozen=True)
class Advice:
    """What one teacher's tokenizer makes of the text."""

    name: str
    folder: Path
    support: str
    """In words: all steps, trim and truncate only, or no; and what else one should know."""
    tokens: int
    tokens_per_word: float
    characters_per_token: float
    unknown: float
    """Share of the running tokens."""
    letters: float
    """Share of the distinct letters of the text, rare strays aside, that are tokens."""
    rows: Mapping[float, int]
    """By coverage of the counted tokens."""
    rows_of_half: int
    """What half of the text needs for the largest coverage."""
    coverage: float
    """What those rows cover of lines that were not counted."""
    vocabulary: int
    params: int
    sizes: Mapping[str, int]
    """Parameters after each recipe that can be done to it, with as many rows as this text needs."""

    @property
    def better(self) -> tuple[bool, float, float, int]:
        """Sorts the most promising first: fully supported, no unknown tokens, few tokens, small."""
        return self.support != ALL, round(self.unknown, 3), round(self.tokens_per_word, 1), self.params


def known_teachers(folders: Sequence[Path] = ()) -> tuple[dict[str, Path], list[str]]:
    """Folders of tokenizers by teacher: in the given folders (or one level below), else in the Hugging Face cache; and the
    names of the known teachers whose tokenizer is in neither.

    :raises NdogoError: a given folder holds no tokenizer.
    """
    found: dict[str, Path] = {}
    for given in folders:
        inside = [f for f in (given, *sorted(given.glob("*/"))) if _has_tokenizer(f)]
        if not inside:
            raise NdogoError("There is no tokenizer here.", where=f"--teachers {given}", cure="Give a model directory.")
        found |= {str(folder) if folder.name in found else folder.name: folder for folder in inside}
    for name in teacher_names():
        if name not in found and (cached := _in_cache(teacher(name).hub)):
            found[name] = cached
    return found, [name for name in teacher_names() if name not in found]


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in VOCABULARIES)


def _in_cache(repository: str) -> Path | None:
    """The newest folder of the cache that holds a repository's tokenizer."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    below = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "snapshots"
    there = [folder for folder in below.glob("*") if _has_tokenizer(folder)]
    return max(there, key=lambda folder: folder.stat().st_mtime, default=None)


def support_of(config: "PreTrainedConfig") -> str:
    """What can be done to a teacher, in words."""
    try:
        listed = architecture_of(config).listed
    except NdogoError as refusal:
        return f"{NONE}: {refusal.what.rpartition(': ')[2]}"
    return f"{ALL if listed else SOME}{'' if _has_head(config) else '; sentence vectors, no masked-LM head'}"


def _has_head(config: "PreTrainedConfig") -> bool:
    return any(name.endswith(HEADS) for name in config.architectures or [])


def advise(found: Mapping[str, Path], lines: Sequence[str], text: Survey) -> tuple[list[Advice], dict[str, str]]:
    """Split the text with each teacher's tokenizer, and foretell what each recipe makes of the teacher: the most promising
    first; and why nothing can be said of the others.
    """
    counted: dict[tuple[str, ...], _Counted] = {}
    answers, problems = [], {}
    for name, folder in found.items():
        try:
            config = _config(name, folder)
            vocabulary = read_vocabulary(folder, config)
            if vocabulary.tokens not in counted:  # many teachers share one
                counted[vocabulary.tokens] = _Counted(vocabulary, lines)
            answers.append(_advice((name, folder), config, vocabulary, counted[vocabulary.tokens], text))
        except NdogoError as error:
            problems[name] = f"{error.what} {error.cure}".strip()
    return sorted(answers, key=lambda advice: advice.better), problems


def _advice(
    source: tuple[str, Path], config: "PreTrainedConfig", vocabulary: Vocabulary, counted: "_Counted", text: Survey
) -> Advice:
    support, whole, tokens = support_of(config), counted.whole, counted.tokens
    unknown = 0.0 if vocabulary.unknown is None else whole[vocabulary.unknown] / whole.sum()
    kept = {share: select(vocabulary, whole, Wanted(coverage=share)).kept for share in COVERAGES}
    half = select(vocabulary, counted.parts[0].weighted, Wanted(coverage=COVERAGES[-1])).kept
    return Advice(
        name=source[0],
        folder=source[1],
        support=support,
        tokens=tokens,
        tokens_per_word=tokens / max(text.words, 1),
        characters_per_token=text.characters / max(tokens, 1),
        unknown=float(unknown),
        letters=_letters(vocabulary, text.letters),
        rows={share: len(ids) for share, ids in kept.items()},
        rows_of_half=len(half),
        coverage=counted.held_out_coverage(kept[COVERAGES[-1]]),
        vocabulary=len(vocabulary.tokens),
        params=0 if support.startswith(NONE) else _size(config),
        sizes={} if support.startswith(NONE) else _sizes(config, vocabulary, whole),
    )


def _config(name: str, folder: Path) -> "PreTrainedConfig":
    if (folder / "config.json").is_file():
        return load_config(folder)
    if name in teacher_names():
        return teacher(name).config
    raise NdogoError(
        "A tokenizer alone does not tell the size of its model.",
        where=str(folder),
        cure="Put its config.json there, or name the folder as a known teacher.",
    )


class _Counted:
    """The text in two halves, line by line in turn, each counted by itself."""

    def __init__(self, vocabulary: Vocabulary, lines: Sequence[str]) -> None:
        halves = [h for h in (lines[::2], lines[1::2]) if h]
        size = len(vocabulary.tokens)
        self.parts: list[TokenCounts] = [
            count_tokens(vocabulary.backend, size, [WeightedLines(partial(iter, half))], silent) for half in halves
        ]
        self._special = {*vocabulary.specials}

    @cached_property
    def whole(self) -> NDArray[np.float64]:
        """(ids,) counts."""
        total: NDArray[np.float64] = np.sum([part.weighted for part in self.parts], axis=0)
        return total

    @property
    def tokens(self) -> int:
        """All running tokens, those of the lines set aside too."""
        return sum(part.tokens + sum(len(ids) for _, ids in part.certificate_sample) for part in self.parts)

    def held_out_coverage(self, kept: Sequence[int]) -> float:
        """The share of the running tokens of lines set aside that are kept."""
        there = set(kept)
        ids = [i for part in self.parts for _, line in part.certificate_sample for i in line if i not in self._special]
        return sum(i in there for i in ids) / len(ids) if ids else 1.0


def _letters(vocabulary: Vocabulary, letters: Sequence[str]) -> float:
    """The share of the letters that are tokens, as the tokenizer's normalizer writes them."""
    normalizer = vocabulary.backend.normalizer
    alone = {surface(vocabulary, token).strip("▁ ") for token in vocabulary.tokens}
    written = [normalizer.normalize_str(c) if normalizer else c for c in letters]
    return sum(all(c in alone for c in w.strip("▁ ")) for w in written) / max(len(letters), 1)


def _size(config: "PreTrainedConfig") -> int:
    from ndogo.core.models import empty_model, parameters

    return parameters(empty_model(config))


def _sizes(config: "PreTrainedConfig", vocabulary: Vocabulary, weighted: NDArray[np.float64]) -> dict[str, int]:
    """Parameters after each recipe, its trims at the rows that this text needs; what cannot be done is left out."""
    rows: dict[Wanted, int] = {}

    def counted(step: Step) -> Step:
        if not isinstance(step, Trim):
            return step
        wanted = Wanted(step.size, step.coverage, step.multiple_of, step.keep)
        if wanted not in rows:
            rows[wanted] = len(select(vocabulary, weighted, wanted).kept) - len(vocabulary.specials)
        return step.model_copy(update={"size": rows[wanted], "coverage": None, "multiple_of": 1})

    found: dict[str, int] = {}
    for name in RECIPES if _has_head(config) else VECTOR_RECIPES:
        asked: Recipe = recipe(name)
        try:
            steps = tuple(counted(step) for step in asked.steps)
            resized = asked.model_copy(update={"steps": steps})
            planned = plan(resized, config, len(vocabulary.specials), scaled=True)  # sizes do not depend on lengths
        except NdogoError:
            continue
        found[name] = planned[-1].params
    return found


def sentences(advice: Advice) -> list[str]:
    """What the numbers of a teacher say, in words."""
    rows, half = advice.rows[COVERAGES[-1]], advice.rows_of_half
    grows = "more text would still add tokens" if rows > 1.05 * half else "more text would add few tokens"
    found = [
        f"{advice.name}: half of this text needs {half:,} rows for {COVERAGES[-1]:.2%} of its tokens, all of it {rows:,}: "
        f"{grows}. The rows cover {advice.coverage:.2%} of lines that were not counted.",
        f"That is {advice.tokens:,} tokens. {_enough(advice.tokens)}",
    ]
    if advice.unknown >= 0.001:
        found.append(
            f"{advice.unknown:.2%} of the tokens are unknown to it: what they say is lost to any model of its."
        )
    return found


def _enough(tokens: int) -> str:
    """What is measured of amounts of text, and where this one lies. No text was made shorter to see what is lost: say so."""
    known = (
        "How scores fall with less text is not measured; how much was read is. On real Swahili (docs/recipes.md) students of a "
        "small teacher kept 92% of it after 150,000 tokens and 91% after 500,000; the teacher was adapted with 1,500,000; a "
        "student of e5 read 45 million (docs/distil.md)."
    )
    if tokens >= TEACHER_READ:
        return f"{known} This text is as much as that teacher read."
    there = (
        "as much as those students read, and less than their teacher"
        if tokens >= STUDENT_READ
        else "less than any of them"
    )
    return f"{known} This text is {there}: begin with `trim-only`, which trains nothing and lost nothing there."
