"""What every way of cutting leaves of a masked-LM, straight after the cut: the tables of docs/cuts.md.

    python benchmarks/cuts.py NAME MODEL_DIRECTORY TEXT [--write docs/cuts.md]
    python benchmarks/cuts.py pocket pocket/teacher pocket:swahili --write docs/cuts.md

Part of the text is held out and masked once; the rest is what calibration is drawn from, once per seed. No training anywhere.
The table goes between `<!-- cuts: NAME -->` and `<!-- end: NAME -->` in the file written to (appended where they are missing).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import mean, pstdev

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

sys.path.insert(0, str(Path(__file__).parents[1]))

from ndogo.compressors.calibration import masked_scores, sample_lines, to_batches
from ndogo.compressors.depth import changes, keep_layers, kept_layers, losses_without
from ndogo.compressors.width import importance
from ndogo.compressors.width.ffn import narrow_ffn
from ndogo.compressors.width.hidden import narrow_hidden, narrow_rotated
from ndogo.compressors.width.importance import Scores, score
from ndogo.core.architectures import architecture_of, layers_of, shape_of
from ndogo.core.batches import Batch
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer, parameters
from ndogo.core.progress import silent
from ndogo.core.text import read_lines
from ndogo.steps.kinds.prune_ffn import PruneFfn
from ndogo.steps.kinds.prune_hidden import PruneHidden
from ndogo.steps.kinds.truncate import Truncate
from ndogo.steps.step import Planning

SHARES = ("3/4", "1/2", "1/4")
HELD_OUT_SEED = 20_000
Made = Callable[[str, int], PreTrainedModel]
TAYLOR: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "taylor, size of each token": lambda change_BLW: change_BLW.abs().sum((0, 1)),
    "taylor, squares of lines": lambda change_BLW: change_BLW.sum(1).square().sum(0),
    "taylor, squares of tokens": lambda change_BLW: change_BLW.square().sum((0, 1)),
}
"""Other ways to add up a unit's value times its gradient over lines and tokens; `taylor` is the size of each line's sum."""


@dataclass
class World:
    """A model and its text: what is held out, and what calibration is drawn from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    held_out: list[Batch]
    lines: list[str]
    sentences: int
    kept: dict[tuple[str, int], Scores] = field(default_factory=dict)

    def batches(self, seed: int) -> list[Batch]:
        """Calibration text of a seed."""
        chosen = sample_lines(lambda: iter(self.lines), self.sentences, seed)
        return to_batches(chosen, self.tokenizer, masked=True, seed=seed)

    def scores(self, kind: str, seed: int) -> Scores:
        """Scores of a kind and seed, measured once."""
        if (kind, seed) not in self.kept:
            with added_up(kind) as known:
                self.kept[kind, seed] = score(self.model, known, self.batches(seed), silent)
        return self.kept[kind, seed]


@contextmanager
def added_up(kind: str) -> Iterator[str]:
    """While open, `taylor` adds up as a way of TAYLOR says; the kind to ask for."""
    if kind not in TAYLOR:
        yield kind
        return

    class Tally(importance._Tally):
        def __call__(self, key: str, heads: int, value: torch.Tensor, width: int | None = None) -> None:
            def arrived(gradient: torch.Tensor) -> None:
                change_BLW = (value.detach() * gradient)[..., :width]
                self._add(key, TAYLOR[kind](change_BLW))
                if heads:
                    self._add(importance._head(key), TAYLOR[kind](change_BLW.unflatten(-1, (heads, -1)).sum(-1)))

            if key != "stream" and value.requires_grad:
                value.register_hook(arrived)

    before, importance._Tally = importance._Tally, Tally
    try:
        yield "taylor"
    finally:
        importance._Tally = before


def depth_rows(world: World) -> Iterator[tuple[str, bool, Made]]:
    """(method, whether it reads text, how it cuts to a share with a seed)."""
    found, fixed = len(layers_of(world.model)), architecture_of(world.model.config).first_layer_fixed
    measures = {"change": changes, "loss": losses_without}
    known: dict[tuple[str, int], torch.Tensor] = {}

    def by_rule(keep: str) -> Made:
        return lambda share, seed: keep_layers(world.model, kept_layers(found, layers(share), keep, fixed=fixed))

    def by_score(name: str) -> Made:
        def made(share: str, seed: int) -> PreTrainedModel:
            if (name, seed) not in known:
                known[name, seed] = measures[name](world.model, world.batches(seed), silent)
            kept = kept_layers(found, layers(share), "importance", known[name, seed], fixed=fixed)
            return keep_layers(world.model, kept)

        return made

    def layers(share: str) -> int:
        return shape_of(Truncate(layers=share).plan(world.model.config, Planning(""))).layers

    for keep in ("first", "last", "stride", "stride-last", "first-last"):
        yield keep, False, by_rule(keep)

    @cache
    def one_by_one(count: int, seed: int) -> PreTrainedModel:
        if count == found:
            return world.model
        model = one_by_one(count + 1, seed)
        scores = losses_without(model, world.batches(seed), silent)
        return keep_layers(model, kept_layers(count + 1, count, "importance", scores, fixed=fixed))

    for name in measures:
        yield f"importance: {name}", True, by_score(name)
    yield "importance: loss, measured again after each layer", True, lambda share, seed: one_by_one(layers(share), seed)


def ffn_rows(world: World) -> Iterator[tuple[str, bool, Made]]:
    """As `depth_rows`, for the FFN width."""

    def made(kind: str) -> Made:
        def cut(share: str, seed: int) -> PreTrainedModel:
            width = shape_of(PruneFfn(size=share).plan(world.model.config, Planning(""))).ffn
            return narrow_ffn(world.model, width, world.scores(kind, seed))

        return cut

    for kind in ("magnitude", "activation", "taylor", *TAYLOR, "self"):
        yield kind, kind != "magnitude", made(kind)


def hidden_rows(world: World) -> Iterator[tuple[str, bool, Made]]:
    """As `depth_rows`, for the hidden width and what becomes of the heads."""

    def made(select: str, heads: str) -> Made:
        def cut(share: str, seed: int) -> PreTrainedModel:
            config = PruneHidden(size=share, heads=heads).plan(world.model.config, Planning(""))
            if select == "pca":
                text = world.batches(seed)
                return narrow_rotated(world.model, config, heads, world.scores("pca", seed), text)[0]
            scores = None if select == "first" else world.scores(select, seed)
            return narrow_hidden(world.model, config, heads, scores)

        return cut

    for heads in ("drop",) if architecture_of(world.model.config).rotary else ("recut", "shrink", "drop"):
        kinds = ("magnitude", "activation", "taylor", *(TAYLOR if heads == "shrink" else ()), "pca")
        for select in ("first",) if heads == "recut" else ("first", *kinds):
            yield f"{select}, heads: {heads}", select not in ("first", "magnitude"), made(select, heads)


def cell(world: World, share: str, seeds: list[int], made: Made) -> tuple[str, float]:
    """Accuracy in percent, with its spread over seeds, and loss in nats; and the loss alone, to rank by."""
    try:
        found = [masked_scores(made(share, seed), world.held_out) for seed in seeds]
    except NdogoError as error:
        return error.what, float("inf")
    loss, accuracy = mean(f[0] for f in found), [100 * f[1] for f in found]
    spread = f" ± {pstdev(accuracy):.1f}" if len(seeds) > 1 else ""
    return f"{mean(accuracy):.1f}{spread} ({loss:.2f})", loss


def table(name: str, rows: Iterator[tuple[str, bool, Made]], world: World, seeds: list[int]) -> str:
    """One Markdown table; the lowest loss of a column is bold."""
    cells: dict[str, list[tuple[str, float]]] = {}
    for method, reads_text, made in rows:
        cells[method] = [cell(world, share, seeds if reads_text else seeds[:1], made) for share in SHARES]
        print(name, method, [text for text, _ in cells[method]], flush=True)
    least = [min(row[column][1] for row in cells.values()) for column in range(len(SHARES))]
    out = [f"| {name} | {' | '.join(SHARES)} |", f"|---|{'---|' * len(SHARES)}"]
    for method, row in cells.items():
        shown = [f"**{text}**" if loss == least[column] else text for column, (text, loss) in enumerate(row)]
        out.append(f"| {method} | {' | '.join(shown)} |")
    return "\n".join(out)


def write(file: Path, name: str, text: str) -> None:
    """Put a block between its marks, appended where they are missing."""
    start, end = f"<!-- cuts: {name} -->", f"<!-- end: {name} -->"
    old = file.read_text() if file.exists() else ""
    block = f"{start}\n{text}\n{end}"
    if start in old and end in old:
        new = old[: old.index(start)] + block + old[old.index(end) + len(end) :]
    else:
        new = old.rstrip("\n") + f"\n\n{block}\n"
    file.write_text(new)


def _lines(text: str) -> Iterator[str]:
    if text.startswith("pocket:"):
        from ndogo.pocket import corpus

        return corpus(text.removeprefix("pocket:"))
    return read_lines(Path(text))


def main() -> None:
    """Measure, print, write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("name")
    asked.add_argument("model", type=Path)
    asked.add_argument("text", help="a file or folder of text, or pocket:LANGUAGE")
    asked.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked.add_argument("--sentences", type=int, default=300, help="lines of calibration text")
    asked.add_argument("--held-out", type=int, default=500, help="lines that are judged on")
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--write", type=Path)
    given = asked.parse_args()
    torch.set_num_threads(given.threads)
    model, tokenizer = load_model(given.model), load_tokenizer(given.model)
    every = list(dict.fromkeys(_lines(given.text)))
    judged = sample_lines(lambda: iter(every), given.held_out, HELD_OUT_SEED)
    apart = set(judged)
    left = [line for line in every if line not in apart]
    held_out = to_batches(judged, tokenizer, masked=True, seed=HELD_OUT_SEED)
    world = World(model, tokenizer, held_out, left, given.sentences)
    loss, accuracy = masked_scores(model, held_out)
    shape = shape_of(model.config)
    asked_of = sum(int((batch.labels >= 0).sum()) for batch in held_out)
    parts = [
        f"Whole model ({shape.layers} layers, hidden {shape.hidden}, FFN {shape.ffn}, {shape.heads} heads, vocabulary "
        f"{shape.vocab:,}, {parameters(model):,} parameters): {100 * accuracy:.1f} ({loss:.2f}). Judged on {asked_of:,} masked "
        f"tokens of {given.held_out} lines held out; calibration: {given.sentences} other lines, seeds "
        f"{', '.join(map(str, given.seeds))}.",
        table("layers", depth_rows(world), world, given.seeds),
        table("FFN", ffn_rows(world), world, given.seeds),
        table("hidden", hidden_rows(world), world, given.seeds),
    ]
    text = "\n\n".join(parts)
    print(text)
    if given.write:
        write(given.write, given.name, text)


if __name__ == "__main__":
    main()
