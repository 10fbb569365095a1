"""The race: the same small model made in every way, judged alike.

    python benchmarks/race.py --out race.json [LANGUAGE ...]                  # the pocket world
    python benchmarks/race.py --read race.json more.json --write docs/recipes.md --picture docs/race-pocket.png
    python benchmarks/race.py --rates 4e-4 1e-3 2e-3 --seeds 0 swahili        # how the rates below were chosen: on dev
    NDOGO_DATA=DIR NDOGO_TEACHER=DIR python benchmarks/race.py --profile local --out real.json swahili

The arm `ndogo` is the recipe ndogo-small as its file says, to the last number, but for the lengths of its trainings. Equal for
all: the trimmed vocabulary, the adapted teacher (one per seed), the student's final shape (the file's, unless `--width` asks for
another), the text, the pieces read in training after the teacher, how a training goes (batches, length, warm-up, dropout: the
file's) and the judging. Every arm is a recipe, made of the steps that every recipe has. Killed and called again, it goes on.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import yaml
from pydantic import TypeAdapter

from benchmarks.blocks import replace_block
from benchmarks.race_page import picture, tables
from ndogo.core.progress import silent
from ndogo.evaluation import Evaluation, EvaluationSettings, evaluate
from ndogo.pocket import LANGUAGES
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import open_store
from ndogo.registry.recipes import FOLDER
from ndogo.steps.recipe import ORIGINAL, Recipe, parse_recipe
from ndogo.steps.step import kinds
from ndogo.tasks.run import Asked, Run, resolve
from ndogo.tasks.steps import find_or_make

Steps = list[dict[str, dict[str, Any]]]
TITLES = {"pocket": "pocket world, a toy", "local": "real text"}
SHIPPED = "ndogo-small"
"""The recipe that is raced."""
LENGTHS = {"epochs", "steps", "tokens"}
OWN = {"teacher", "objective", "learning_rate", *LENGTHS}
"""What of a training is an arm's own; all else is the file's for every arm."""
JUDGED: dict[str, dict[str, Any]] = {
    "pocket": {"mode": "finetune", "learning_rates": (1e-3, 2e-3), "epochs": 10, "patience": 10, "max_length": 96},
    "local": {"mode": "probe", "max_length": 128},
}
JUDGINGS = {"pocket": 1, "local": 3}
"""Seeds of judging for each compression seed; probes of one model differ little in cost."""
HOT = {"positions": "all", "temperature": 4.0}
"""Logits as a student learns most from them here."""
SINGLE: dict[str, dict[str, Any]] = {
    "od": {"logits_ce": 1.0},
    "hs-last": {"hidden": {"map": "last"}},
    "hs-uniform": {"hidden": {"map": "uniform"}},
    "hs-consecutive": {"hidden": {"map": "consecutive"}},
    "hs-uniform-last": {"hidden": {"map": "uniform-last"}},
    "mha": {"relations": {"heads": 32, "teacher_layer": -2}},
    "direct": {"direct": {"teacher_layer": -2}},
    "logits-mse": {"logits_mse": {"positions": "all"}},
    "logits-hot": {"logits_kl": HOT},
    "mlm": {"mlm": 1.0},
}
"""One objective each, after the plain cut."""


def shipped() -> dict[str, dict[str, Any]]:
    """The numbers of the shipped recipe's steps that make a model, by kind, as they stand in its file."""
    text = (FOLDER / f"{SHIPPED}.yaml").read_text(encoding="utf-8")
    steps = {kind: numbers for step in yaml.safe_load(text)["steps"] for kind, numbers in step.items()}
    return {kind: numbers for kind, numbers in steps.items() if kinds()[kind].makes_model}


def long(numbers: dict[str, Any], pieces: int, **more: Any) -> dict[str, Any]:
    """A training's numbers with another length."""
    return {key: value for key, value in numbers.items() if key not in LENGTHS} | {"tokens": pieces} | more


def taught(
    pieces: int, objective: dict[str, Any], rate: float, *, teacher: str = "adapt", **more: Any
) -> dict[str, Any]:
    """A distillation step that reads so many pieces, and in all that is not its own goes as the file's."""
    alike = {key: value for key, value in shipped()["distil"].items() if key not in OWN}
    own = {"tokens": pieces, "objective": objective, "learning_rate": rate, "teacher": teacher}
    return {"distil": alike | own | more}


def two_step(pieces: int, rate: float, width: str) -> Steps:
    """Gurgurov et al.: every second layer, distil; FFN by Taylor, the first columns, distil from the pruned model."""
    objective = {"mlm": 0.5, "logits_mse": {"weight": 0.5, "positions": "all"}}
    return [
        {"truncate": {"id": "half", "layers": "1/2"}},
        taught(pieces // 2, objective, rate, id="first"),
        {"prune_ffn": {"size": width, "importance": "taylor", "sentences": 997}},
        {"prune_hidden": {"size": width, "select": "first", "heads": "recut"}},
        taught(pieces // 2, objective, rate, teacher="prune_ffn", id="second", seed_offset=1),
    ]


def single(pieces: int, rate: float, width: str, objective: dict[str, Any]) -> Steps:
    """Everything cut at once, every second layer and widths by activation; then one training with one objective."""
    narrow: Steps = [{"prune_ffn": {"size": width}}, {"prune_hidden": {"size": width}}]
    return [{"truncate": {"layers": "1/2"}}, *narrow, taught(pieces, objective, rate)]


def ours(pieces: int, rate: float, width: str, **changed: Any) -> Steps:
    """The shipped recipe after its adapted teacher; with any decision changed, its neighbours."""
    file = shipped()
    keep = changed.get("keep")
    depth = {"layers": file["truncate"]["layers"], "keep": keep} if keep else file["truncate"]
    half: Steps = [{"truncate": depth}]
    objective = {"objective": changed.get("objective", file["distil"]["objective"]), "learning_rate": rate}
    one = {"distil": long(file["distil"], pieces, **objective)}
    first = {"distil": long(file["distil"], pieces // 2, id="first", **objective)}
    second = {"distil": long(file["distil"], pieces // 2, id="second", seed_offset=1, **objective)}

    def narrow(size: str, hop: str = "") -> Steps:
        ffn = file["prune_ffn"] | {"size": size} | ({"importance": changed["ffn"]} if "ffn" in changed else {})
        hidden = file["prune_hidden"] | {"size": size} | {k: changed[k] for k in ("select", "heads") if k in changed}
        named = ({"id": f"ffn{hop}"}, {"id": f"hidden{hop}"}) if hop else ({}, {})
        return [{"prune_ffn": ffn | named[0]}, {"prune_hidden": hidden | named[1]}]

    match changed.get("hops"):
        case "depth, then width":
            return [*half, first, *narrow(width), second]
        case "half the width, then the rest":
            return [*half, *narrow("1/2"), first, *narrow(str(2 * Fraction(width)), "-again"), second]
    return [*half, *narrow(width), one]


def mix(**changed: Any) -> dict[str, Any]:
    """Our objective with terms changed; None takes one away."""
    whole = shipped()["distil"]["objective"] | changed
    return {"objective": {name: spec for name, spec in whole.items() if spec is not None}}


TRIM_LAST = "trim-last"
ABLATIONS: dict[str, dict[str, Any]] = {
    TRIM_LAST: {},
    "two-hops": {"hops": "depth, then width"},
    "two-widths": {"hops": "half the width, then the rest"},
    "keep-stride": {"keep": "stride"},
    "keep-first": {"keep": "first"},
    "ffn-taylor": {"ffn": "taylor"},
    "width-activation": {"select": "activation"},
    "heads-drop": {"heads": "drop"},
    "only-mlm": mix(direct=None),
    "only-direct": mix(mlm=None),
    "only-kl": mix(mlm=None, direct=None, logits_kl=1.0),
    "kl-too": mix(logits_kl=1.0),
    "kl-for-mlm": mix(mlm=None, logits_kl=1.0),
    "relations-for-direct": mix(direct=None, relations=1.0),
    "hidden-for-direct": mix(direct=None, hidden={"weight": 10.0, "map": "last"}),
    "hidden-pair-for-direct": mix(direct=None, hidden={"weight": 10.0, "map": "last-pair"}),
    "hidden-too": mix(hidden={"weight": 10.0, "map": "last"}),
    "hidden-weak-too": mix(hidden={"weight": 1.0, "map": "last"}),
    "hot-too": mix(logits_kl=HOT),
    "hot-for-mlm": mix(mlm=None, logits_kl=HOT),
    "hidden-weak-hot-too": mix(hidden={"weight": 1.0, "map": "last"}, logits_kl=HOT),
    "hidden-hot-too": mix(hidden={"weight": 10.0, "map": "last"}, logits_kl=HOT),
    "only-hidden": mix(direct=None, mlm=None, hidden={"map": "last"}),
    "direct-weak": mix(direct=1.0),
    "direct-below": mix(direct={"weight": 10.0, "teacher_layer": -2}),
}
"""One decision of ours taken otherwise, each."""
TRIM_ONLY = "trim-only"
"""The one that is not of equal size: the trimmed teacher as it is, neither adapted nor cut."""
ARMS: dict[str, Any] = {"ndogo": ours, "two-step": two_step, TRIM_ONLY: ours}
ARMS |= {name: partial(single, objective=objective) for name, objective in SINGLE.items()}
RACING = ("ndogo", "two-step", "od", "hs-last", "mha", "direct", "mlm")
"""Of the four maps of hidden states the one that was best on dev."""
ARMS |= {name: partial(ours, **changed) for name, changed in ABLATIONS.items()}
RATES = {
    "pocket": dict.fromkeys(ARMS, 4e-3) | {"hs-last": 8e-3, "direct": 8e-3, "mha": 2e-3, "mlm": 2e-3},
    "local": dict.fromkeys(ARMS, 2e-3) | {"two-step": 1e-3, "od": 1e-3, "mha": 1e-3},
}
"""Of the rivals: each the best of 1e-3, 2e-3, 4e-3 and so on, on dev, in Swahili with seed 0 (docs/log.md). Ours: the file's."""
OURS = ("ndogo", TRIM_ONLY, *ABLATIONS)


def rate_of(arm: str, profile: str) -> float:
    """The learning rate at which an arm runs, unless others are asked for."""
    return float(shipped()["distil"]["learning_rate"]) if arm in OURS else RATES[profile][arm]


def recipe(arm: str, asked: argparse.Namespace, rate: float) -> Recipe:
    """An arm's recipe; JSON is YAML."""
    file = shipped()
    trim: Steps = [{"trim": file["trim"]}]
    adapt: Steps = [{"adapt": long(file["adapt"], asked.teacher_pieces)}]
    cut_and_taught: Steps = ARMS[arm](asked.pieces, rate, asked.width or file["prune_hidden"]["size"])
    orders = {TRIM_ONLY: trim, TRIM_LAST: adapt + cut_and_taught + trim}
    steps = orders.get(arm, trim + adapt + cut_and_taught)
    return parse_recipe(json.dumps({"name": f"race-{arm}", "steps": steps}))


def made(run: Run) -> dict[str, Path]:
    """Find or make every step of a run; the model directories by the step's id."""
    store, found = run.store, {ORIGINAL: run.store.path(run.original)}
    for name in run.requests():
        found[name] = store.path(find_or_make(run, name, silent)[0])
    return found


def score(model: Path, run: Run) -> Evaluation:
    """The evaluation, kept in the store."""
    rows = benchmarks(run.language, run.profile)
    key = hashlib.sha256(f"{model.name} {run.settings.model_dump_json()}".encode()).hexdigest()[:20]
    return run.store.record("race", key, Evaluation, lambda: evaluate(model, rows, run.settings, silent))[0]


def base_run(asked: argparse.Namespace, language: str, seed: int) -> Run:
    """What the arms of a language and seed share; every compression seed has seeds of judging for itself."""
    many = JUDGINGS[asked.profile]
    seeds = tuple(range(many * seed + 1, many * (seed + 1) + 1))
    settings = EvaluationSettings(seeds=seeds, threads=asked.threads, **JUDGED[asked.profile])
    run = resolve(open_store(), "race", Asked(language, "trim-only", asked.profile, seed))
    longest = max(asked.pieces, asked.teacher_pieces) if asked.profile == "pocket" else None
    return run.model_copy(
        update={"settings": settings, "token_cap": longest}
    )  # a cap cuts lines to what the teacher reads


FILE = TypeAdapter(dict[str, Evaluation])
"""What `--out` writes and `--read` reads."""


def race(asked: argparse.Namespace) -> dict[str, Evaluation]:
    """Evaluations by "language arm rate seed"; `teacher` is the adapted one."""
    records = FILE.validate_json(asked.out.read_bytes()) if asked.out and asked.out.exists() else {}
    for language in asked.languages:
        for seed in asked.seeds:
            base = base_run(asked, language, seed)
            for arm in asked.arms:
                for rate in asked.rates or [rate_of(arm, asked.profile)]:
                    name = f"{language} {arm} {rate:g} {seed}"
                    if name in records:
                        continue
                    run = base.model_copy(update={"recipe": recipe(arm, asked, rate)})
                    models = made(run)
                    if (teacher := f"{language} teacher 0 {seed}") not in records:
                        records[teacher] = score(models["adapt"], run)
                    records[name] = score(models[run.recipe.last], run)
                    told(name, records[name])
                    if asked.out:
                        asked.out.write_bytes(FILE.dump_json(records))
    return records


def told(name: str, record: Evaluation) -> None:
    """One line: dev, which choices are made on, and test."""
    judged = record.benchmarks
    dev = 100 * fmean(fmean(one.dev) for one in judged.values())
    scores = " ".join(f"{key} {100 * one.mean:.1f}" for key, one in judged.items())
    mean = 100 * fmean(one.mean for one in judged.values())
    print(f"{name}: {record.parameters:,} parameters, dev {dev:.1f}, test {mean:.1f} ({scores})", flush=True)


def show(records: dict[str, Evaluation], asked: argparse.Namespace) -> None:
    """Print the tables; write them and draw the picture, where that was asked for."""
    text = tables(records, asked.first)
    print(text)
    if asked.write:
        replace_block(asked.write, f"race: {asked.name or asked.profile}", text)
    if asked.picture:
        title = f"The same small model made in every way: {TITLES[asked.profile]}"
        asked.picture.write_bytes(picture(records, asked.first, title))


def main() -> None:
    """Run, or show what ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", default=[name for name in LANGUAGES if name != "english"])
    parser.add_argument("--profile", choices=sorted(JUDGED), default="pocket")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(RACING))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pieces", type=int, default=300_000, help="read in training by every student")
    parser.add_argument("--teacher-pieces", type=int, default=300_000, help="read in training by the teacher")
    parser.add_argument("--width", default="", help="of the student, and of its FFN; default: the recipe's")
    parser.add_argument("--rates", type=float, nargs="+", help="try these learning rates instead of the chosen ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep every record here")
    parser.add_argument("--read", type=Path, nargs="+", help="run nothing, only show what these files hold")
    parser.add_argument("--first", default="ndogo", help="the arm whose lead over the others is shown")
    parser.add_argument("--write", type=Path, help="put the tables into this page, at its mark `race: NAME`")
    parser.add_argument("--name", help="of the mark; default: the profile")
    parser.add_argument("--picture", type=Path, help="draw what was kept into this file")
    asked = parser.parse_args()
    if asked.read:
        every = {name: record for file in asked.read for name, record in FILE.validate_json(file.read_bytes()).items()}
        show({name: record for name, record in every.items() if name.split()[1] in ("teacher", *asked.arms)}, asked)
        return
    os.environ.setdefault("NDOGO_HOME", str(Path(tempfile.gettempdir()) / "ndogo-race"))
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    records = race(asked)
    if not asked.rates:
        show(records, asked)


if __name__ == "__main__":
    main()
