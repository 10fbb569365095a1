"""XLM-R base at full size, with random weights and its real tokenizer: exactness, time, memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizer

from ndogo.compressors.depth import keep_layers
from ndogo.compressors.width.ffn import narrow_ffn
from ndogo.compressors.width.hidden import narrow_hidden
from ndogo.compressors.width.importance import score
from ndogo.core.architectures import layers_of
from ndogo.core.models import load_model, save
from ndogo.core.progress import silent

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
BASE = {"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
ALL_THREE = """
import sys, time
from pathlib import Path
from ndogo.steps.kinds.prune_ffn import PruneFfn
from ndogo.steps.kinds.prune_hidden import PruneHidden
from ndogo.steps.kinds.truncate import Truncate
from ndogo.core.text import WeightedLines, lines_of
from ndogo.steps.step import Context
source, out, text = map(Path, sys.argv[1:])
told = []
def report(doing, done, total, numbers=None):
    told.append(doing)
context = Context(texts=(WeightedLines(lines_of(text)),), report=report)
start = time.time()
for name, step in (
    ("depth", Truncate(layers=6, keep="stride")),
    ("ffn", PruneFfn(size=2048, importance="activation", sentences=1000)),
    ("hidden", PruneHidden(size=312, select="activation", heads="shrink", sentences=1000)),
):
    (out / name).mkdir()
    print(name, step.make({"student": source}, out / name, context), f"{time.time() - start:.1f} s", flush=True)
    source = out / name
import json
from ndogo.evaluation.footprint import resident
print(json.dumps({"seconds": time.time() - start, "peak": resident("VmHWM"), "told": len(told)}))
"""


@pytest.fixture(scope="module")
def base(shared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    model = XLMRobertaForMaskedLM(XLMRobertaConfig(**BASE)).eval()
    save(model, folder)
    XLMRobertaTokenizer.from_pretrained(shared / "tokenizers" / "xlm-roberta", model_max_length=512).save_pretrained(
        folder
    )
    return folder


def answer(model):
    ids = torch.arange(10, 42)[None]
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_full_size_cuts_are_exact(base):
    model = load_model(base)
    expected = answer(model)
    scores = score(model, "magnitude", [], silent)
    assert torch.equal(answer(keep_layers(model, range(12))), expected)
    assert torch.equal(answer(narrow_hidden(model, model.config, "shrink", scores)), expected)
    student = narrow_ffn(model, 2048, scores)
    for layer, module in enumerate(layers_of(model)):
        mask = torch.zeros(3072)
        mask[scores[f"ffn.{layer}"].topk(2048).indices] = 1
        module.output.dense.register_forward_pre_hook(lambda _m, inputs, mask=mask: (inputs[0] * mask,))
    assert (answer(student) - answer(model)).abs().max() < 1e-5
    assert student.get_input_embeddings().weight.data_ptr() == student.get_output_embeddings().weight.data_ptr()


def test_all_three_with_a_thousand_real_sentences(base, shared, tmp_path):
    """The figures are printed; memory is held, time is not (it is the machine's)."""
    text = shared / "data" / "text" / "swa.txt.gz"
    done = subprocess.run(
        [sys.executable, "-c", ALL_THREE, str(base), str(tmp_path), str(text)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    sys.stdout.write(done.stdout)
    assert found["peak"] < 6e9 and found["told"] > 20
    assert sum(p.numel() for p in load_model(tmp_path / "hidden").parameters()) == 88_543_314
