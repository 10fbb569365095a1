"""How tags mark entities: IOB2 as it is, IOB1 and BIOES (or BILOU) turned into it, each with a count of what changed.

IOB2: every entity begins with B-. IOB1: an entity begins with I-, and with B- only right after another of its type.
BIOES: an entity ends with E- (BILOU: L-), and one of a single word is S- (BILOU: U-).
"""

from collections.abc import Iterator, Sequence

from ndogo.core.errors import NdogoError

Placed = tuple[str, Sequence[str]]
"""The tags of a row, and where it stands."""
Tags = list[list[str]]
PREFIXES = ("B", "I", "E", "L", "S", "U")
ENDS, SINGLES = ("E", "L"), ("S", "U")
STRAY_SHARE = 0.01
"""Published IOB2 data holds a few stray I- tags (0.02 % in MasakhaNER 2.0); a larger share is another scheme."""


def as_iob2(name: str, rows: Sequence[Placed]) -> tuple[Tags, list[str]]:
    """The tags of each row in IOB2, and what is to be told of them.

    A few stray I- tags open an entity, as the CoNLL scorer reads them.

    :raises NdogoError: with file and line: no tag of any scheme, an entity that is cut off, or two schemes at once.
    """
    for where, tags in rows:
        for tag in tags:
            if not (tag == "O" or (tag[:1] in PREFIXES and tag[1:2] == "-" and len(tag) > 2)):
                raise NdogoError(f"`{tag}` is not an IOB2 tag.", where=where, cure="Write O, B-TYPE and I-TYPE.")
    if any(tag[:1] in (*ENDS, *SINGLES) and tag != "O" for _, tags in rows for tag in tags):
        return _converted(name, "BIOES", rows, [_from_bioes(where, tags) for where, tags in rows])
    stray = [(where, tag) for where, tags in rows for tag in _strays(tags)]
    entities = sum(tag[:2] == "B-" for _, tags in rows for tag in tags) + len(stray)
    opened = [_opened(tags) for _, tags in rows]
    if len(stray) <= STRAY_SHARE * entities:
        told = [f"{where}: `{tag}` continues nothing; read as the start of an entity" for where, tag in stray]
        return opened, told
    if all(_iob1(tags) for _, tags in rows):
        return _converted(name, "IOB1", rows, opened)
    raise NdogoError(
        f"`{stray[0][1]}` does not continue an entity of its type ({len(stray)} such tags in `{name}`).",
        where=stray[0][0],
        cure="Write IOB2: every entity begins with B-TYPE.",
    )


def _from_bioes(where: str, tags: Sequence[str]) -> list[str]:
    made, before = [], "O"
    for tag in tags:
        inside = before[:2] in ("B-", "I-")
        goes_on = tag[:1] in ("I", *ENDS) and tag != "O"
        if inside != goes_on or (goes_on and tag[2:] != before[2:]):
            raise NdogoError(
                f"`{tag}` follows `{before}`, which BIOES does not allow.",
                where=where,
                cure="Write B-, I- ... E- for an entity of several words, and S- for one of a single word.",
            )
        kind = "B" if tag[:1] in SINGLES else "I" if tag[:1] in ENDS else tag[:1]
        made.append("O" if tag == "O" else f"{kind}-{tag[2:]}")
        before = tag
    if before[:2] in ("B-", "I-"):
        raise NdogoError(
            f"The last entity of a row has no end: `{before}`.", where=where, cure="End it with E-, or write S-."
        )
    return made


def _strays(tags: Sequence[str]) -> Iterator[str]:
    """The I- tags that continue no entity of their type."""
    before = "O"
    for tag in tags:
        if tag[:2] == "I-" and before[2:] != tag[2:]:
            yield tag
        before = tag


def _opened(tags: Sequence[str]) -> list[str]:
    """The tags, each stray I- as B-."""
    made, before = [], "O"
    for tag in tags:
        made.append("B-" + tag[2:] if tag[:2] == "I-" and before[2:] != tag[2:] else tag)
        before = tag
    return made


def _iob1(tags: Sequence[str]) -> bool:
    """Whether every B- stands right after an entity of its type."""
    before = "O"
    for tag in tags:
        if tag[:2] == "B-" and before[2:] != tag[2:]:
            return False
        before = tag
    return True


def _converted(name: str, scheme: str, rows: Sequence[Placed], made: Tags) -> tuple[Tags, list[str]]:
    pairs = [(a, b) for (_, tags), new in zip(rows, made, strict=True) for a, b in zip(tags, new, strict=True)]
    where = rows[0][0].rpartition(",")[0] or name
    changed = sum(a != b for a, b in pairs)
    return made, [f"{where}: {scheme} was turned into IOB2: {changed:,} of {len(pairs):,} tags changed"]
