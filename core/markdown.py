"""Tables in Markdown, as reports, cards and pages hold them."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int | None = None) -> str:
    """A table. `left`: so many columns stand to the left and the others to the right; None: all as the reader has it."""
    rule = ["---"] * len(heads) if left is None else ["---"] * left + ["---:"] * (len(heads) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))
