"""A text looked at before any model is: how much there is, in which scripts, and what in it will cost quality."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from ndogo.compressors.vocabulary.selection import script_of

CHARACTERS = 8_000_000
"""More than so many are not read: about two seconds for each tokenizer, and enough to judge by."""
LINES = 20_000
"""About so many lines, evenly spread, are looked at for what should not be there."""
NEARLY_ALL = 0.9999
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|&(?:[a-z]+|#\d+);|https?://|\{\{|\[\[")
TOGETHER = (frozenset(("CJK", "HIRAGANA", "KATAKANA")), frozenset(("CJK", "HANGUL")))
"""Scripts that one language writes side by side."""
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that write words without a space between them."""
_WORDS = {
    "English": "the of and to in is that for with was are this have from",
    "French": "les des et est dans pour une qui avec sur par sont cette",
    "Portuguese": "que não uma para com dos são também mais foi pelo das",
    "Spanish": "que los las una para con por del más como pero fue este",
    "Arabic": "في من على إلى أن هذا هذه التي الذي عن مع كان",
}
FUNCTION_WORDS: Mapping[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _WORDS.items()}
"""Languages that are found between the lines of others, by words that few other languages have."""
OF_A_LINE = 0.2
"""A line reads as one of them when so large a share of its words, and two at least, are its function words."""


@dataclass(frozen=True)
class Survey:
    """What one reading of a text tells."""

    lines: int
    words: int
    """Stretches between white space; of little meaning where the script has none."""
    characters: int
    whole: bool
    """Whether the text ended before the limit."""
    scripts: Mapping[str, float]
    """Share of the letters that each script writes, largest first."""
    letters: tuple[str, ...]
    """The letters and marks that write nearly all of the text, the most frequent first."""
    warnings: tuple[str, ...]

    @property
    def spaced(self) -> bool:
        """Whether words stand apart by white space."""
        return sum(self.scripts.get(script, 0) for script in UNSPACED) < 0.5


def read_some(lines: Iterable[str], limit: int = CHARACTERS) -> tuple[list[str], bool]:
    """The first lines of a text, up to so many characters; and whether these are all."""
    reading, seen = iter(lines), 0
    some = []
    for line in reading:
        some.append(line)
        seen += len(line)
        if seen >= limit:
            return some, next(reading, None) is None
    return some, True


def survey(lines: Sequence[str], *, whole: bool = True) -> Survey:
    """Look at lines of text."""
    characters: Counter[str] = Counter()
    words = 0
    for line in lines:
        characters.update(line)
        words += len(line.split())
    by_script: Counter[str] = Counter()
    for character, count in characters.items():
        by_script[script_of(character)] += count
    by_script.pop("", None)
    total = by_script.total() or 1
    scripts = {script: count / total for script, count in by_script.most_common()}
    letters = [(c, count) for c, count in characters.most_common() if script_of(c)]
    sums = accumulate(count for _, count in letters)
    usual = tuple(c for (c, count), so_far in zip(letters, sums, strict=True) if so_far - count < NEARLY_ALL * total)
    some = lines[:: len(lines) // LINES + 1]
    told = chain(_mixed_scripts(scripts), _mixed_languages(some), _faults(some), _repeated(lines))
    return Survey(len(lines), words, characters.total(), whole, scripts, usual, tuple(told))


def _mixed_scripts(scripts: Mapping[str, float]) -> Iterator[str]:
    large = [script for script, share in scripts.items() if share >= 0.02]
    if len(large) > 1 and not any(set(large) <= group for group in TOGETHER):
        shown = ", ".join(f"{script.capitalize()} {scripts[script]:.0%}" for script in large)
        yield f"Letters of several scripts ({shown}): every script seen takes rows. Leave foreign lines out."


def _mixed_languages(lines: Sequence[str]) -> Iterator[str]:
    found: Counter[str] = Counter(filter(None, map(language_of_line, lines)))
    for name, count in found.most_common():
        share = count / len(lines)
        if 0.02 <= share <= 0.8:  # above that, it is the language of the text
            yield f"{share:.0%} of the lines read as {name}: a model of one language learns them too. Leave them out."


def language_of_line(line: str) -> str:
    """Which of the languages that mix into others a line is in; empty for none of them."""
    words = re.findall(r"\w+", line.lower())
    counts = {name: sum(map(known.__contains__, words)) for name, known in FUNCTION_WORDS.items()}
    name, most = max(counts.items(), key=lambda item: item[1])
    return name if most >= max(2, OF_A_LINE * len(words)) else ""


def _faults(lines: Sequence[str]) -> Iterator[str]:
    count = max(len(lines), 1)
    faults = {
        "hold markup or addresses (<...>, &amp;, http://, {{, [[): clean them, or their pieces take rows.": (
            sum(1 for line in lines if MARKUP.search(line)) / count,
            0.01,
        ),
        "hold letters in parts (not NFC): tokenizers split them finer, and one word has two spellings. "
        "Convert with `uconv -x any-nfc`, or Python's unicodedata.normalize.": (
            sum(1 for line in lines if not unicodedata.is_normalized("NFC", line)) / count,
            0.001,
        ),
        "hold the sign for a lost character (\ufffd): the text was decoded wrongly.": (
            sum(1 for line in lines if "\ufffd" in line) / count,
            0.001,
        ),
    }
    for told, (share, least) in faults.items():
        if share >= least:
            yield f"{share:.1%} of the lines {told}"


def _repeated(lines: Sequence[str]) -> Iterator[str]:
    share = 1 - len(set(lines)) / max(len(lines), 1)
    if lines and share >= 0.05:
        yield f"{share:.1%} of the lines repeat others: they count twice, and teach nothing new."
