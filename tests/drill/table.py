"""What a drill found: one row for each kind of fault."""

from dataclasses import dataclass, field

from tests.drill.forks import Ended


@dataclass
class Row:
    """How many faults were tried, and what came of them."""

    name: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    wrong: int = 0
    tracebacks: int = 0
    slowest: float = 0.0
    largest: float = 0.0
    cpu: float = 0.0
    not_tried: str = ""
    faults: list[str] = field(default_factory=list)

    def add(self, what: str, ended: Ended, *, lost: bool = False, wrong: bool = False, other: str = "") -> None:
        """Count one fault: a result or a refusal survives it, unless work was lost or a wrong result was accepted."""
        self.tried += 1
        self.slowest, self.largest = max(self.slowest, ended.seconds), max(self.largest, ended.megabytes)
        traceback = ended.word in ("traceback", "framed")
        self.lost, self.wrong, self.tracebacks = self.lost + lost, self.wrong + wrong, self.tracebacks + traceback
        if lost or wrong or traceback or other or ended.word == "killed":
            said = " | ".join(ended.said.strip().splitlines()[-3:])[-500:]
            why = " ".join(filter(None, (ended.word, "lost" * lost, "wrong" * wrong, other)))
            self.faults.append(f"{self.name}: {what}: {why}: {said}")
        else:
            self.survived += 1


HEADS = (
    "",
    "tried",
    "survived",
    "lost",
    "wrong result accepted",
    "traceback",
    "slowest",
    "most memory",
    "processor time",
)


def markdown(rows: list[Row]) -> str:
    """The table."""
    lines = [f"| {' | '.join(HEADS)} |", f"|---|{'---:|' * (len(HEADS) - 1)}"]
    for row in rows:
        if row.not_tried:
            lines.append(f"| {row.name} | *not tried*: {row.not_tried} |" + " |" * (len(HEADS) - 2))
            continue
        counts = (row.tried, row.survived, row.lost, row.wrong, row.tracebacks)
        memory = f"{row.largest:.0f} MB" if row.largest else ""
        lines.append(
            f"| {row.name} | {' | '.join(map(str, counts))} | {row.slowest:.1f} s | {memory} | {row.cpu:.0f} s |"
        )
    return "\n".join(lines)
