"""What each kind of step makes of a pico model is pinned: where it changes, `version` must be bumped.

After a bump: `python -m tests.steps.test_versions` writes the pins anew.
"""

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ndogo.core.text import WeightedLines
from ndogo.evaluation import Benchmark, checked
from ndogo.steps.step import Context, Step, kinds
from tests import pico, tiny

PINS = Path(__file__).with_name("pins.json")
TRAINING = {"steps": 4, "batch_size": 4, "max_length": 32, "learning_rate": 1e-3}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "trim, size": ("trim", {"size": 90}),
    "trim, coverage": ("trim", {"coverage": 0.9}),
    "truncate, stride": ("truncate", {"layers": 1}),
    "truncate, change": ("truncate", {"layers": 1, "keep": "importance"}),
    "truncate, loss": ("truncate", {"layers": 1, "keep": "importance", "importance": "loss"}),
    **{
        f"prune_ffn, {i}": ("prune_ffn", {"size": 24, "importance": i, "sentences": 9}) for i in ("magnitude", "taylor")
    },
    **{f"prune_ffn, {i}": ("prune_ffn", {"size": 24, "importance": i, "sentences": 9}) for i in ("activation", "self")},
    "prune_ffn, sorted heads": ("prune_ffn", {"size": 24, "importance": "magnitude", "sort_heads": True}),
    "prune_hidden, first, recut": ("prune_hidden", {"size": 16, "select": "first", "heads": "recut"}),
    "prune_hidden, svd, recut": ("prune_hidden", {"size": 16, "select": "svd", "heads": "recut"}),
    "prune_hidden, magnitude, drop": ("prune_hidden", {"size": 16, "select": "magnitude", "heads": "drop"}),
    "prune_hidden, activation, shrink": ("prune_hidden", {"size": 16, "sentences": 9}),
    "prune_hidden, pca, shrink": ("prune_hidden", {"size": 16, "select": "pca", "sentences": 9}),
    "prune_hidden, pca, drop": ("prune_hidden", {"size": 16, "select": "pca", "heads": "drop", "sentences": 9}),
    "fresh": ("fresh", {"layers": 1, "hidden": 16, "ffn": 24, "heads": 2}),
    "export": ("export", {"dtype": "int8", "lines": 4}),
    "finetune": ("finetune", {"benchmark": "ner", "learning_rates": [1e-3], "epochs": 1, "max_length": 32}),
    "adapt": ("adapt", TRAINING),
    "distil, mlm and direct": ("distil", TRAINING | {"objective": {"mlm": 1, "direct": 10}}),
    "distil, logits": (
        "distil",
        TRAINING | {"objective": {"logits_mse": {"positions": "all"}, "logits_kl": 1, "mlm": 1}},
    ),
    "distil, states": ("distil", TRAINING | {"objective": {"hidden": 1, "relations": 1, "cosine": 1, "embedding": 1}}),
}


def step_of(case: str) -> Step:
    kind, fields = CASES[case]
    return kinds()[kind](**fields)


def rows(name: str) -> Benchmark:
    """The tiny language's rows."""
    return checked(name, {s: [("tiny", row) for row in tiny.rows(name, s)] for s in ("train", "dev", "test")})


def pin(step: Step, source: Path) -> dict[str, Any]:
    """The step's version, and a few numbers of each tensor of what it makes: they move with any weight, and bear another
    machine's rounding.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, texts = Path(folder) / "out", (WeightedLines(lambda: iter(pico.TEXT)),)
        out.mkdir()
        torch.set_num_threads(1)
        inputs = {"student": source} | dict.fromkeys(step.roles, source)
        work = Path(folder) / "work"
        step.make(inputs, out, Context(texts=texts, fingerprint="pico", work=work, threads=1, rows=rows))
        weights = load_file(out / "model.safetensors")
        ids = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    wave = torch.cos(torch.arange(10_000, dtype=torch.float64))
    numbers = {
        name: [
            list(tensor.shape),
            float(tensor.double().norm()),
            float(tensor.double().flatten() @ wave[: tensor.numel()]),
        ]
        for name, tensor in weights.items()
    }
    return {"version": step.version, "tokens": len(ids), "tensors": numbers}


@pytest.fixture(scope="module")
def pinned() -> dict[str, Any]:
    return json.loads(PINS.read_text(encoding="utf-8"))


def test_every_kind_is_pinned():
    assert {kind for kind, _ in CASES.values()} == set(kinds())


@pytest.mark.parametrize("case", list(CASES))
def test_what_a_step_makes_changes_only_with_its_version(case: str, pinned: dict[str, Any], pico_model):
    found, before = pin(step_of(case), pico_model("xlmr")), pinned[case]
    say = f"`{CASES[case][0]}` makes something else than version {before['version']} did: bump `version`, then write the pins"
    assert found["version"] == before["version"], "the version was bumped: write the pins anew"
    assert found["tokens"] == before["tokens"] and found["tensors"].keys() == before["tensors"].keys(), say
    for name, (shape, norm, wave) in found["tensors"].items():
        old_shape, old_norm, old_wave = before["tensors"][name]
        near = dict(rel_tol=1e-4, abs_tol=1e-4 * (1 + old_norm))
        assert shape == old_shape and math.isclose(norm, old_norm, **near) and math.isclose(wave, old_wave, **near), say


def test_a_new_field_at_its_default_leaves_a_key_unchanged():
    from typing import Annotated

    from ndogo.core.frozen import Later
    from ndogo.steps.kinds.trim import Trim

    class Newer(Trim):
        dither: Annotated[float, Later()] = 0.0

    assert Newer(size=90).content() == Trim(size=90).content()
    assert Newer(size=90, dither=0.5).content() == {**Trim(size=90).content(), "dither": 0.5}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        model = pico.xlmr(Path(home) / "xlmr")
        pins = {case: pin(step_of(case), model) for case in CASES}
    PINS.write_text(json.dumps(pins, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(pins)} pins\n")
