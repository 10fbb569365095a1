"""The race of small embedding models: one teacher, the same size made in every way, judged alike.

    NDOGO_DATA=DIR python benchmarks/vectors.py E5 swahili --out OUT
    ... --tokens 2000000 --lines 10000      # of every training: what two cores do in an evening
    ... --batch-tokens 16384 --minutes 5    # on a GPU: arms begin in their order, the best first, while there is time
    ... --mode finetune --benchmarks ner topic --arms ndogo-embed-small vectors-sentence
    ... --write docs/real.md --picture docs/img/race-swahili.png

Arms are recipes, ours and those of benchmarks/rivals/, each as its file says but for what is asked for here; static vectors and
the trimmed teacher stand beside them. Steps that arms share are made once, and so is what the teacher says. Models lie in
OUT/models, evaluations in OUT/judged: killed and called again, it goes on. Choices are made on dev; test is read once.
"""

import argparse
import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.blocks import replace_block
from ndogo.core.text import WeightedLines, fingerprint
from ndogo.evaluation import Benchmark, Evaluation, EvaluationSettings, evaluate, gap_closed, retention
from ndogo.evaluation.encoder import Encoder, load_encoder
from ndogo.evaluation.records import Comparison
from ndogo.evaluation.static import static_encoder, taught_static
from ndogo.evaluation.summary import VECTOR_NAMES
from ndogo.evaluation.vectors import Embedder, VectorTexts, judge_vectors
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import Corpus, corpus
from ndogo.registry.hub import Hub
from ndogo.registry.parallel import vector_texts
from ndogo.registry.recipes import recipe
from ndogo.steps.recipe import ORIGINAL, Recipe
from ndogo.steps.step import Context, Step
from ndogo.steps.step import make as make_step
from ndogo.steps.training import Training

RIVALS = Path(__file__).with_name("rivals")
OURS = "ndogo-embed-small"
TRIMMED = "trimmed"
STATIC = {"static": static_encoder, "static-taught": taught_static}
ARMS = (OURS, "vectors-sentence", "vectors-hs-last", "vectors-two-step", "vectors-od", "vectors-mha", "vectors-direct")
"""Recipes, in the order in which they run."""


@dataclass(frozen=True)
class Race:
    """What all arms share."""

    teacher: Path
    text: Corpus
    rows: list[Benchmark]
    texts: VectorTexts
    settings: EvaluationSettings
    asked: argparse.Namespace

    def recipe(self, arm: str) -> Recipe:
        """An arm's recipe, with what is asked of its trainings; several share the tokens as they do in the file."""
        found = recipe(arm if arm == OURS else str(RIVALS / f"{arm}.yaml"))
        longest = sum(step.tokens or 0 for step in found.steps if step.kind == "distil" and isinstance(step, Training))
        part = self.asked.tokens / longest if self.asked.tokens else 1.0
        live = self.asked.arms if self.asked.live == [] else self.asked.live or []

        def short(step: Step) -> Step:
            if not isinstance(step, Training) or step.tokens is None:
                return step
            changed: dict[str, Any] = {"tokens": round(part * step.tokens)}
            if self.asked.batch_tokens:
                changed["batch_tokens"] = self.asked.batch_tokens
            if arm in live and step.kind == "distil":
                changed["teacher_outputs"] = "live"
            return step.model_copy(update=changed)

        return found.model_copy(update={"steps": tuple(short(step) for step in found.steps)})

    def made(self, arm: str, seed: int) -> dict[str, Path]:
        """Find or make every step of an arm; the folders by the step's id."""
        found, keys = {ORIGINAL: self.teacher}, {ORIGINAL: str(self.teacher)}
        for step in self.recipe(arm).order():
            told = [step.kind, step.version, step.content(), {role: keys[name] for role, name in step.parents.items()}]
            told += [self.asked.lines if step.reads_text else None, seed if step.draws else None, self.text.language]
            keys[step.id] = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:20]
            found[step.id] = self.asked.out / "models" / keys[step.id]
            if not found[step.id].is_dir():
                self._make(step, {role: found[name] for role, name in step.parents.items()}, found[step.id], seed)
        return found

    def _make(self, step: Step, inputs: Mapping[str, Path], out: Path, seed: int) -> None:
        lines = WeightedLines(lambda: islice(self.text.lines(), self.asked.lines))
        draft, work = out.with_name(f".{out.name}.draft"), out.with_name(f".{out.name}.work")
        draft.mkdir(parents=True, exist_ok=True)
        known, cap = fingerprint(lines.lines), self.asked.tokens
        context = Context((lines,), self.text.validation, known, seed, cap, work, teacher_cache=self.asked.out)
        with clocked(f"{step.kind} {out.name}") as spent:
            numbers = make_step(step, inputs, draft, context)
        (draft / "spent.json").write_text(json.dumps({"seconds": spent[0], **numbers}, default=str))
        draft.rename(out)

    def judged(self, name: str, seed: int, size: Path | None, encoder: Any) -> Evaluation:
        """The evaluation of one arm, found or made; `encoder` gives what is judged."""
        asked = [self.settings.model_dump(mode="json"), self.texts.fingerprint(), [b.fingerprint() for b in self.rows]]
        told = [name, seed, self.asked.tokens, self.asked.lines, str(size), asked]
        key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]
        file = self.asked.out / "judged" / f"{key}.json"
        if not file.is_file():
            with clocked(f"judging {name}"):
                model: Encoder = encoder()
                found = evaluate(model, self.rows, self.settings)
                if self.settings.mode == "probe":
                    vectors = judge_vectors(Embedder(model), self.teacher, self.texts)
                    found = found.model_copy(update={"vectors": vectors})
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found.model_dump_json())
        return Evaluation.model_validate_json(file.read_bytes())


@contextmanager
def clocked(doing: str) -> Iterator[list[float]]:
    """Say what is done and what processor time it took, which stands in the list behind it."""
    started, spent = (time.process_time(), time.monotonic()), [0.0]
    yield spent
    spent[0] = time.process_time() - started[0]
    print(f"{doing}: {spent[0]:.0f} s of processor time, {time.monotonic() - started[1]:.0f} s", flush=True)


def race(found: Race) -> tuple[dict[str, list[Evaluation]], dict[str, float]]:
    """The evaluations of every arm by seed, and the processor seconds of its own steps; the teacher stands under `original`."""
    asked = found.asked
    began, longest = time.monotonic(), 0.0
    results: dict[str, list[Evaluation]] = {}
    spent: dict[str, float] = {}
    for seed in asked.seeds:
        for arm in asked.arms:
            started = time.monotonic()
            if asked.minutes and started - began + longest > 60 * asked.minutes:
                print(f"no time is left for {arm} {seed}")
                continue
            models = found.made(arm, seed)
            last = models[found.recipe(arm).last]
            results.setdefault(arm, []).append(found.judged(arm, seed, last, partial(load_encoder, last)))
            spent[arm] = sum(seconds(folder) for name, folder in models.items() if name != ORIGINAL)
            told(arm, results[arm][-1])
            if arm == OURS and seed == asked.seeds[0]:
                results |= beside(found, models["trim"], results[OURS][0].parameters)
            longest = max(longest, time.monotonic() - started)
    return results, spent


def beside(found: Race, trimmed: Path, size: int) -> dict[str, list[Evaluation]]:
    """What no arm makes: the teacher, the trimmed one and, by probes, static vectors of so many parameters."""
    made = {"original": partial(load_encoder, found.teacher), TRIMMED: partial(load_encoder, trimmed)}
    if found.settings.mode == "probe":
        lines = list(islice(found.text.lines(), found.asked.lines))
        made |= {name: partial(make, found.teacher, lines, size) for name, make in STATIC.items()}
    results = {
        name: [found.judged(name, 0, trimmed if name == TRIMMED else None, encoder)] for name, encoder in made.items()
    }
    for name, (record,) in results.items():
        told(name, record)
    return results


def seconds(folder: Path) -> float:
    """Processor seconds that a model took to make."""
    return float(json.loads((folder / "spent.json").read_text())["seconds"])


def told(name: str, record: Evaluation) -> None:
    """One line for one model: dev, which choices are made on, and test."""
    dev = ", ".join(f"{key} {100 * sum(one.dev) / len(one.dev):.1f}" for key, one in record.benchmarks.items())
    test = ", ".join(
        f"{key} {100 * one.mean:.1f}" for key, one in [*record.benchmarks.items(), *record.vectors.items()]
    )
    print(f"{name}: {record.parameters:,} parameters; dev {dev}; test {test}", flush=True)


def table(results: Mapping[str, Sequence[Evaluation]], spent: Mapping[str, float]) -> str:
    """Every arm beside the teacher, and by how many points ours is ahead of it."""
    whole, ours = results["original"][0], results[OURS]
    names, measures = list(whole.benchmarks), list(whole.vectors)
    floors = {name: results[name][0] for name in STATIC if name in results}
    heads = ["", "parameters", *names, "kept", "gap closed", f"`{OURS}` ahead", *(VECTOR_NAMES[m] for m in measures)]
    heads.append("minutes")
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for name, found in results.items():
        kept = retention(found, [whole] * len(found))
        scores = [f"{100 * kept.benchmarks[b].student:.1f}" for b in names]
        lead = "" if name in (OURS, "original") else ahead(ours, found)
        gaps = [] if name in ("original", *STATIC) else [gap_closed(one, whole, floors) for one in found]
        closed = fmean(gap.closed for gap in gaps if gap) if any(gaps) else None
        cells = [f"{found[0].parameters / 1e6:.2f} M", *scores, shown(kept.mean)]
        cells += ["" if closed is None else f"{100 * closed:.0f}%", lead]
        cells += [shown(kept.vectors[m]) for m in measures]
        cells.append(f"{spent[name] / 60:.0f}" if name in spent else "")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    covers = retention(ours, [whole] * len(ours)).covers
    legend = f"Percent kept of the teacher's, [95%]; intervals cover {covers}."
    gap = " The gap is that from the better static vectors to the teacher." if floors else ""
    return "\n".join([*lines, "", legend + gap])


def picture(results: Mapping[str, Sequence[Evaluation]]) -> bytes:
    """A PNG: what each arm keeps of the benchmarks and of each measure of vectors, with intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole = results["original"][0]
    arms = [name for name in results if name != "original"]
    kept = {name: retention(results[name], [whole] * len(results[name])) for name in arms}
    panels = {"benchmarks": [found.mean for found in kept.values()]}
    panels |= {VECTOR_NAMES[m]: [found.vectors[m] for found in kept.values()] for m in whole.vectors}
    figure = Figure(figsize=(3 + 2.6 * len(panels), 1.2 + 0.34 * len(arms)), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    for axes, (title, found) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for place, (name, one) in enumerate(zip(arms, found, strict=True)):
            if one is not None:
                colour = "#0f766e" if name == OURS else "#64748b"
                axes.plot([100 * end for end in one.retention_interval], [place] * 2, color=colour, alpha=0.6)
                axes.plot(100 * one.retention, place, "o", color=colour)
        axes.set_title(title, loc="left", fontsize=10)
        axes.axvline(100, color="#334155", linewidth=0.8)
        axes.set_yticks(range(len(arms)), arms)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.get_axes()[0].invert_yaxis()
    figure.supxlabel("% of the teacher's, with 95% interval", fontsize=9)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def shown(found: Comparison | None) -> str:
    """What is kept, in percent."""
    if found is None:
        return "not comparable"
    low, high = (100 * end for end in found.retention_interval)
    return f"{100 * found.retention:.1f} [{low:.1f}, {high:.1f}]"


def ahead(ours: Sequence[Evaluation], theirs: Sequence[Evaluation]) -> str:
    """The points of the benchmarks' mean, over the seeds that both have; one that has a single one stands for all."""
    same = list(theirs) * len(ours) if len(theirs) == 1 else list(theirs)
    both = min(len(ours), len(same))
    mean = retention(list(ours)[:both], same[:both]).mean
    if mean is None:
        return "not comparable"
    low, high = (100 * end for end in mean.difference_interval)
    return f"{100 * mean.difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    """Race, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("language")
    parser.add_argument("--profile", default="local", choices=("local", "pocket"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tokens", type=int, help="of an arm's distillation, all its trainings together")
    parser.add_argument("--lines", type=int, help="only the first so many of the text")
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--live", nargs="*", help="these arms, or all, ask the teacher at every step: cheaper on a GPU")
    parser.add_argument("--minutes", type=float, help="begin no arm that would end later")
    parser.add_argument("--mode", default="probe", choices=("probe", "finetune"))
    parser.add_argument("--benchmarks", nargs="+", help="only these")
    parser.add_argument("--write", type=Path, help="a page with the mark `race: LANGUAGE`")
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    text = corpus(asked.language, asked.profile)
    rows = [row for row in benchmarks(asked.language, asked.profile) if isinstance(row, Benchmark)]
    texts = vector_texts(text, rows, Hub())
    judged = [row for row in rows if not asked.benchmarks or row.name in asked.benchmarks]
    settings = EvaluationSettings(mode=asked.mode, benchmarks=tuple(asked.benchmarks or ()))
    results, spent = race(Race(asked.teacher, text, judged, texts, settings, asked))
    made = table(results, spent)
    print(made)
    if asked.write:
        replace_block(asked.write, f"race: {asked.language}", made)
    if asked.picture:
        asked.picture.write_bytes(picture(results))


if __name__ == "__main__":
    main()
