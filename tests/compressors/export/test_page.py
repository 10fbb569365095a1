"""The page in a real browser: the same answers as Python's, by keyboard, on a phone's width, with no word outside labels.json."""

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

import ndogo_run
from ndogo.compressors.export import Settings, export
from ndogo.compressors.export.page import SOURCE, page
from ndogo.core.errors import NdogoError
from ndogo.core.models import save
from ndogo.registry.corpora import corpus
from tests.browser import Page, chromium, opened, served
from tests.pico import TEXT

ROOT = Path(__file__).parents[3]
needs_chromium = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed: apt-get install chromium")

ODD = [
    "", " ", "\t\n", "ﬁnali ya ﬂoti", "1ª na 2º", "ª", "½ ⅓ ㎏ № ™ ①", "ｆｕｌｌ　ｗｉｄｔｈ",
    "\U0001f469\u200d\U0001f467\u200d\U0001f466 familia \U0001f1f0\U0001f1ea \u270a\U0001f3fe", "\u263a\ufe0f ok",
    "\u200bsifuri\u200d", "\ufeffmwanzo", "moja\u00a0mbili\u2009tatu\u3000nne", "ǅ ŀ ŉ ſ ẛ̣", "İstanbul ıI Σς", "한국어 가",
    "हिन्दी क्षि", "\u0301mwanzo", "mwisho \u0301", "e\u0301\u0302\u0303", "''\"”“—…", "a\u0000b", "x" * 300,
    "Ng'ombe za n’gambo", "ẹ́kọ́ ọ̀rọ̀",
]  # fmt: skip


def sentences() -> list[str]:
    """200 of them: odd ones, the pocket world's, and those in NFD."""
    world = [line for _, line in zip(range(100), corpus("swahili", "pocket").lines(), strict=False)]
    world += [line for _, line in zip(range(20), corpus("yoruba", "pocket").lines(), strict=False)]
    found = [*ODD, *TEXT[:9], *(unicodedata.normalize("NFD", line) for line in TEXT[:9]), *world]
    found += [unicodedata.normalize("NFD", line) for line in world]
    return found[:200]


@pytest.fixture(scope="module")
def pocket_export(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pocket") / "out"
    export(ROOT / "pocket" / "teacher", out, Settings(("int8",), 16), corpus("swahili", "pocket").lines)
    return out


@pytest.fixture(scope="module")
def tagger(pico_model, tmp_path_factory) -> Path:
    """A tagger of random weights: its labels follow every token, so nothing can agree by luck."""
    folder = tmp_path_factory.mktemp("tagger")
    torch.manual_seed(5)
    labels = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC"}
    model = AutoModelForTokenClassification.from_pretrained(pico_model("xlmr"), num_labels=4, id2label=labels)
    torch.nn.init.normal_(model.classifier.weight)
    save(model, folder / "in")
    AutoTokenizer.from_pretrained(pico_model("xlmr")).save_pretrained(folder / "in")
    export(folder / "in", folder / "out", Settings(("fp32",), 8), lambda: iter(TEXT))
    return folder / "out"


@pytest.fixture(scope="module")
def browser(pocket_export: Path, tmp_path_factory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    page(pocket_export, folder / "web", [line for line in TEXT[:4]])
    with served(folder / "web") as address, opened(address, folder / "profile") as found:
        found.wait("document.querySelector('form') !== null")
        found.run("(async () => { globalThis.model = await (await import('./model.js')).Model.load(); })()")
        yield found


@needs_chromium
def test_masks_are_filled_as_in_python(browser: Page, pocket_export: Path):
    model = ndogo_run.load(pocket_export)
    texts = [f"{text} <mask>." for text in sentences()]
    assert len(texts) == 200
    script = "(async () => {{ const all = []; for (const t of {}) all.push(await model.fill(t)); return all; }})()"
    there = browser.run(script.format(json.dumps(texts)))
    apart, pairs = [], []
    for text, masks in zip(texts, there, strict=True):
        here = [] if "<mask>" not in tokens_read(model, text) else model.fill(text)
        assert len(masks) == len(here), text
        for ours, theirs in zip(here, masks, strict=True):
            pairs.append((ours, theirs))
            apart.append(abs(ours[0].score - theirs[0]["score"]))
    # int8 rounds what comes in: where the last digit of a sum differs, a step of the rounding can
    assert len(pairs) >= 199 and max(apart) < 0.05 and sorted(apart)[len(apart) // 2] < 1e-3
    assert [
        ours for ours, theirs in pairs if ours[0].label != theirs[0]["label"] and ours[0].score - ours[1].score > 0.02
    ] == []


def tokens_read(model: ndogo_run.Model, text: str) -> list[str]:
    """The tokens of a text that the model's length leaves."""
    return model.tokenizer.encode(text).tokens[: model.facts["max_length"] - 1]


@needs_chromium
def test_tokens_are_those_of_python(browser: Page, pocket_export: Path):
    tokenizer = ndogo_run.load(pocket_export).tokenizer
    there = browser.run(f"{json.dumps(sentences())}.map((text) => model.tokenizer.encode(text).map(({{id}}) => id))")
    assert there == [tokenizer.encode(text).ids for text in sentences()]


@needs_chromium
def test_nearest_sentences_are_those_of_python(browser: Page, pocket_export: Path):
    model = ndogo_run.load(pocket_export)
    lines = [line for line in sentences() if line.strip()]
    there = browser.run(
        f"(async () => {{ const v = []; for (const t of {json.dumps(lines)}) v.push(await model.embed(t));"
        " return v.map((one) => model.nearest(one, v, 2).map(({line, score}) => [line, score])); })()"
    )
    vectors = model.embed(lines)
    for vector, found in zip(vectors, there, strict=True):
        near = vectors @ vector
        order = near.argsort()[::-1]
        assert abs(near[order[1]] - near[found[1][0]]) < 5e-3
        assert abs(near[found[1][0]] - found[1][1]) < 5e-3


@needs_chromium
def test_words_are_tagged_as_in_python(tagger: Path, tmp_path: Path):
    model = ndogo_run.load(tagger)
    page(tagger, tmp_path / "web")
    texts = sentences()
    with served(tmp_path / "web") as address, opened(address, tmp_path / "profile") as browser:
        browser.wait("document.querySelector('form') !== null")
        there = browser.run(
            "(async () => { const m = await (await import('./model.js')).Model.load(); const all = [];"
            f"for (const t of {json.dumps(texts)}) all.push((await m.tag(t)).map((s) => [s.text, s.label])); return all; }})()"
        )
    assert there == [[[span.text, span.label] for span in model.tag(text)] for text in texts]


@needs_chromium
def test_a_person_without_a_mouse_gets_an_answer(browser: Page):
    browser.run("document.querySelector('#fill textarea').focus()")
    browser.run("document.querySelector('#fill textarea').value = 'Watoto <mask> mpira.'")
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.tagName") == "BUTTON"
    browser.press("Enter", 13)
    browser.wait("document.querySelectorAll('#fill .found li').length === 5")
    assert "ms" in browser.run("document.querySelector('#fill .told').textContent")
    spoken = "document.querySelector('#fill section').getAttribute('aria-live')"
    assert browser.run(spoken) == "polite"
    unnamed = "[...document.querySelectorAll('textarea')].filter((t) => !t.labels[0]?.textContent.trim()).length"
    assert browser.run(unnamed) == 0


@needs_chromium
def test_it_fits_a_phone_and_asks_nobody_else(browser: Page):
    browser.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    assert browser.run("document.documentElement.scrollWidth") <= 320
    home = browser.run("location.origin")
    assert [url for url in browser.requested if not url.startswith((home, "data:", "blob:"))] == []
    assert "MB" in browser.run("document.getElementById('state').textContent")


@needs_chromium
def test_every_word_of_the_page_can_be_translated(pocket_export: Path, tmp_path: Path):
    folder = page(pocket_export, tmp_path / "web", TEXT[:3])
    labels = json.loads((folder / "labels.json").read_text())
    marked = {name: "##" if name != "language" else "sw" for name in labels}
    (folder / "labels.json").write_text(json.dumps(marked))
    with served(folder) as address, opened(address, tmp_path / "profile") as browser:
        browser.wait("document.querySelector('form') !== null")
        seen = browser.run("document.body.innerText + document.title")
        assert browser.run("document.documentElement.lang") == "sw"
    assert re.findall(r"\w+", seen) == []


def test_a_tokenizer_that_the_page_cannot_read_is_refused(pocket_export: Path, tmp_path: Path):
    file = pocket_export / "onnx" / "tokenizer.json"
    before = file.read_text(encoding="utf-8")
    content = json.loads(before)
    content["normalizer"] = {"type": "Prepend", "prepend": "x"}
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        with pytest.raises(NdogoError, match="Prepend"):
            page(pocket_export, tmp_path / "web")
    finally:
        file.write_text(before, encoding="utf-8")
    assert not (tmp_path / "web").exists()


def test_the_runtime_comes_with_its_licence():
    assert "MIT License" in (SOURCE / "vendor" / "LICENCES.txt").read_text(encoding="utf-8")
    assert (SOURCE / "vendor" / "ort-wasm.bin").read_bytes()[:2] == b"\x1f\x8b"
