"""The race: the same small model made in every way, judged alike.

    python benchmarks/race.py --out race.json [LANGUAGE ...]                  # the pocket world
    python benchmarks/race.py --table race.json more.json
    python benchmarks/race.py --rates 4e-4 1e-3 2e-3 --seeds 0 swahili        # how the rates below were chosen: on dev
    NDOGO_DATA=DIR NDOGO_TEACHER=DIR python benchmarks/race.py --profile local --out real.json swahili

Equal for all: the trimmed vocabulary, the adapted teacher (one per seed), the student's final shape (half the layers, half the
FFN, half the width), the text, the pieces read in training after the teacher, the batches' size and the judging. Every arm
is a recipe, made of the steps that every recipe is made of. Killed and called again, it goes on.
"""

import argparse
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from core.progress import silent
from core.recipes import ORIGINAL, Recipe, parse_recipe
from evaluation import EvaluationSettings, evaluate, retention
from pocket import LANGUAGES
from registry.benchmarks import benchmarks
from registry.bundles import Store
from tasks.run import Run, resolve
from tasks.steps import find_or_make

Steps = list[dict[str, dict[str, Any]]]
TRAINING: dict[str, Any] = {"batch_size": 32, "max_length": 64, "warmup": 0.06, "dropout": 0.0}
JUDGED: dict[str, dict[str, Any]] = {
    "pocket": {"mode": "finetune", "learning_rates": (1e-3, 2e-3), "epochs": 10, "patience": 10, "max_length": 96},
    "local": {"mode": "finetune", "learning_rates": (2e-4,), "epochs": 5, "patience": 5, "max_length": 128},
}
PLAIN: Steps = [{"truncate": {"layers": "1/2"}}, {"prune_ffn": {"size": "1/2"}}, {"prune_hidden": {"size": "1/2"}}]
SINGLE: dict[str, dict[str, Any]] = {
    "od": {"logits_ce": 1.0},
    "hs-last": {"hidden": {"map": "last"}},
    "hs-uniform": {"hidden": {"map": "uniform"}},
    "hs-consecutive": {"hidden": {"map": "consecutive"}},
    "hs-uniform-last": {"hidden": {"map": "uniform-last"}},
    "mha": {"relations": {"heads": 32, "teacher_layer": -2}},
    "direct": {"direct": {"teacher_layer": -2}},
    "kl": {"logits_kl": 1.0},
    "kl-all": {"logits_kl": {"positions": "all"}},
    "mlm": {"mlm": 1.0},
}
"""One objective each, on a student cut in the plain way: every second layer, widths by activation."""


def taught(
    pieces: int, objective: dict[str, Any], rate: float, *, teacher: str = "adapt", **more: Any
) -> dict[str, Any]:
    """A distillation step that reads so many pieces."""
    return {
        "distil": TRAINING
        | {"tokens": pieces, "objective": objective, "learning_rate": rate, "teacher": teacher}
        | more
    }


def two_step(pieces: int, rate: float) -> Steps:
    """Gurgurov et al.: every second layer, distil; FFN by Taylor, the first columns, distil from the pruned model."""
    objective = {"mlm": 0.5, "logits_mse": {"weight": 0.5, "positions": "all"}}
    return [
        {"truncate": {"id": "half", "layers": "1/2"}},
        taught(pieces // 2, objective, rate, id="first"),
        {"prune_ffn": {"size": "1/2", "importance": "taylor", "sentences": 997}},
        {"prune_hidden": {"size": "1/2", "select": "first", "heads": "recut"}},
        taught(pieces // 2, objective, rate, teacher="prune_ffn", id="second", seed_offset=1),
    ]


def single(pieces: int, rate: float, objective: dict[str, Any]) -> Steps:
    """Everything cut at once, then one training with one objective."""
    return [*PLAIN, taught(pieces, objective, rate)]


MIX: dict[str, Any] = {"mlm": 0.5, "logits_kl": 0.5, "relations": {"weight": 1.0, "heads": 32}}
OURS: dict[str, Any] = {"keep": "importance", "ffn": "activation", "select": "pca", "heads": "shrink", "hops": 1}


def ours(pieces: int, rate: float, **changed: Any) -> Steps:
    """The recipe `ndogo-small`; with any decision changed, its neighbours."""
    asked = OURS | {"objective": MIX} | changed
    keep, objective = asked["keep"], asked["objective"]
    chosen = {"keep": keep, "importance": "loss"} if keep == "importance" else {"keep": keep}
    half = {"truncate": {"id": "half", "layers": "1/2", **chosen}}
    narrow = [
        {"prune_ffn": {"size": "1/2", "importance": asked["ffn"]}},
        {"prune_hidden": {"size": "1/2", "select": asked["select"], "heads": asked["heads"]}},
    ]
    if asked["hops"] == 1:
        return [half, *narrow, taught(pieces, objective, rate)]
    first = taught(pieces // 2, objective, rate, id="first")
    return [half, first, *narrow, taught(pieces // 2, objective, rate, id="second", seed_offset=1)]


def mix(**changed: Any) -> dict[str, Any]:
    """Our objective with terms changed; None takes one away."""
    return {"objective": {name: spec for name, spec in (MIX | changed).items() if spec is not None}}


ABLATIONS: dict[str, dict[str, Any]] = {
    "two-hops": {"hops": 2},
    "keep-stride": {"keep": "stride"},
    "keep-first": {"keep": "first"},
    "ffn-taylor": {"ffn": "taylor"},
    "width-activation": {"select": "activation"},
    "heads-drop": {"heads": "drop"},
    "without-relations": mix(relations=None),
    "without-mlm": mix(mlm=None),
    "without-kl": mix(logits_kl=None),
    "only-relations": mix(mlm=None, logits_kl=None),
    "only-kl": mix(mlm=None, relations=None),
    "only-mlm": mix(logits_kl=None, relations=None),
    "hidden-instead": mix(relations=None, hidden={"map": "uniform"}),
    "hidden-too": mix(hidden={"map": "uniform"}),
    "relations-strong": mix(relations={"weight": 10.0, "heads": 32}),
    "relations-below": mix(relations={"heads": 32, "teacher_layer": -2}),
    "relations-few": mix(relations={"heads": 6}),
    "mix-kl-all": mix(logits_kl={"weight": 0.5, "positions": "all"}),
}
"""One decision of ours taken otherwise, each."""
ARMS: dict[str, Any] = {"ndogo": ours, "two-step": two_step}
ARMS |= {name: partial(single, objective=objective) for name, objective in SINGLE.items()}
RACING = tuple(ARMS)
ARMS |= {name: partial(ours, **changed) for name, changed in ABLATIONS.items()}
RATES = dict.fromkeys(ARMS, 1e-3)


def recipe(arm: str, pieces: int, rate: float) -> Recipe:
    """An arm's recipe; JSON is YAML."""
    frame: Steps = [
        {"trim": {"coverage": 0.9995}},
        {"adapt": TRAINING | {"tokens": pieces, "learning_rate": 3e-4}},
    ]
    return parse_recipe(json.dumps({"name": f"race-{arm}", "steps": frame + ARMS[arm](pieces, rate)}))


def made(run: Run) -> dict[str, Path]:
    """Find or make every step of a run; the model directories by the step's id."""
    store, found = Store(), {ORIGINAL: Store().path(run.original)}
    for name in run.requests():
        found[name] = store.path(find_or_make(run, name, silent)[0])
    return found


def score(model: Path, run: Run) -> dict[str, Any]:
    """The evaluation's record, kept in the store."""
    rows = benchmarks(run.language, run.profile)
    key = f"race-{model.name}-{run.settings.seeds[0]}"
    return Store().record("race", key, lambda: evaluate(model, rows, run.settings, silent))[0]


def base_run(asked: argparse.Namespace, language: str, seed: int) -> Run:
    """What the arms of a language and seed share; one seed of judging for one of compression."""
    settings = EvaluationSettings(seeds=(seed + 1,), threads=asked.threads, **JUDGED[asked.profile])
    run = resolve("race", language, "trim-only", asked.profile, seed)
    return run.model_copy(update={"settings": settings, "token_cap": None})


def race(asked: argparse.Namespace) -> dict[str, Any]:
    """Records by "language arm rate seed"; `teacher` is the adapted one."""
    records: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    for language in asked.languages:
        for seed in asked.seeds:
            base = base_run(asked, language, seed)
            for arm in asked.arms:
                for rate in asked.rates or [RATES[arm]]:
                    name = f"{language} {arm} {rate:g} {seed}"
                    if name in records:
                        continue
                    run = base.model_copy(update={"recipe": recipe(arm, asked.pieces, rate)})
                    models = made(run)
                    records[f"{language} teacher 0 {seed}"] = score(models["adapt"], run)
                    records[name] = score(models[run.recipe.last], run)
                    told(name, records[name])
                    if asked.out:
                        asked.out.write_text(json.dumps(records))
    return records


def told(name: str, record: dict[str, Any]) -> None:
    """One line: dev, which choices are made on, and test."""
    judged = record["benchmarks"]
    dev = 100 * fmean(fmean(one["dev"]) for one in judged.values())
    scores = " ".join(f"{key} {100 * one['mean']:.1f}" for key, one in judged.items())
    mean = 100 * fmean(one["mean"] for one in judged.values())
    print(f"{name}: {record['parameters']:,} parameters, dev {dev:.1f}, test {mean:.1f} ({scores})", flush=True)


def joined(records: dict[str, Any], language: str, arm: str) -> dict[str, Any]:
    """The records of an arm's seeds as one record with so many seeds; empty where there is none."""
    each = [r for name, r in sorted(records.items()) if name.split()[:2] == [language, arm]]
    if not each:
        return {}
    found: dict[str, Any] = {"version": each[0]["version"], "settings": None, "model": arm, "benchmarks": {}}
    found["parameters"] = each[0]["parameters"]
    for name, first in each[0]["benchmarks"].items():
        parts = [r["benchmarks"][name] for r in each]
        items, scores = ([x for part in parts for x in part[key]] for key in ("items", "scores"))
        found["benchmarks"][name] = first | {"items": items, "scores": scores, "mean": fmean(scores)}
        found["benchmarks"][name]["seeds"] = list(range(len(scores)))
    return found


def table(records: dict[str, Any]) -> str:
    """What each arm keeps of its teacher; and by how much `ndogo` is ahead, with the 95% interval of the difference in points."""
    arms = [arm for arm in ARMS if any(name.split()[1] == arm for name in records)]
    head = "| language | seeds | teacher | parameters | " + " | ".join(arms)
    lines = [f"{head} | ndogo ahead of |", "|" + "---|" * (len(arms) + 5)]
    for language in dict.fromkeys(name.split()[0] for name in records):
        teacher = joined(records, language, "teacher")
        by_arm = {arm: found for arm in arms if (found := joined(records, language, arm))}
        kept = [
            f"{100 * retention(by_arm[arm], teacher)['mean']['retention']:.1f}%" if arm in by_arm else ""
            for arm in arms
        ]
        ahead = []
        for arm in list(by_arm)[1:] if "ndogo" in by_arm else []:
            mean = retention(by_arm["ndogo"], by_arm[arm])["mean"]
            low, high = (100 * end for end in mean["difference_interval"])
            ahead.append(f"{arm} {100 * mean['difference']:+.1f} ({low:+.1f} to {high:+.1f})")
        score = 100 * fmean(one["mean"] for one in teacher["benchmarks"].values())
        seeds = len(next(iter(by_arm.values()))["benchmarks"]["topic"]["scores"])
        size = f"{next(iter(by_arm.values()))['parameters']:,}"
        lines.append(f"| {language} | {seeds} | {score:.1f} | {size} | {' | '.join(kept)} | {'; '.join(ahead)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, or print the table of what ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", default=[name for name in LANGUAGES if name != "english"])
    parser.add_argument("--profile", choices=sorted(JUDGED), default="pocket")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(RACING))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--pieces", type=int, default=300_000, help="read in training, by the teacher and by every student"
    )
    parser.add_argument("--rates", type=float, nargs="+", help="try these learning rates instead of the chosen ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep every record here")
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    asked = parser.parse_args()
    if asked.table:
        print(table({name: record for file in asked.table for name, record in json.loads(file.read_text()).items()}))
        return
    os.environ.setdefault("NDOGO_HOME", str(Path(tempfile.gettempdir()) / "ndogo-race"))
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    print(table(race(asked)))


if __name__ == "__main__":
    main()
