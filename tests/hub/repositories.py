"""Repositories laid out as the real ones are, filled with pocket rows."""

import functools
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow
import pyarrow.parquet

from ndogo import pocket
from tests.hub.server import Hub
from tests.hub.store import folder_files

PARQUET = "refs/convert/parquet"
TEACHER = "Davlan/afro-xlmr-base"
LINES = 300
ROWS = {"train": 60, "dev": 24, "test": 60}
WORDS = {"train": "train", "dev": "validation", "test": "test"}
POS_COPY = "benchmarks: {pos: 'hf:mama/masakhapos-swa:swa'}\n"
"""The user's one line: part-of-speech rows that the hub's own repository only has a script for."""
SCRIPT = b"raise SystemExit('a script of the hub was run')\n"
STRING = {"dtype": "string", "_type": "Value"}


def card(**fields: Any) -> bytes:
    """A README.md whose head is JSON, which is YAML."""
    return f"---\n{json.dumps(fields)}\n---\nA data set.\n".encode()


def parquet(rows: Iterable[Mapping[str, Any]], features: Mapping[str, Any]) -> bytes:
    """A Parquet file with the features in its schema, where the `datasets` library puts them."""
    table = pyarrow.Table.from_pylist([dict(row) for row in rows])
    made = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pyarrow.parquet.write_table(made, out)
    return out.getvalue()


@functools.cache
def rows(kind: str) -> dict[str, list[dict[str, Any]]]:
    """The pocket benchmark of Swahili, made once, the first rows of each split."""
    return {split: found[: ROWS[split]] for split, found in pocket.benchmark("swahili", kind).items()}


@functools.cache
def lines() -> list[str]:
    """The pocket corpus of Swahili, the first lines of it."""
    return list(pocket.corpus("swahili", sentences=LINES))


def tag_names(kind: str) -> list[str]:
    """The names of a benchmark's tags in the order in which they are numbered."""
    return sorted({tag for split in rows(kind).values() for row in split for tag in row["tags"]})


def renamed(kind: str, text: str, label: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of texts, their columns called as a data set calls them."""
    return {s: [{text: r["text"], label: r["label"]} for r in found] for s, found in rows(kind).items()}


def tagged(kind: str, tags: str) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Rows of words with numbers for their tags, and the features that name the numbers."""
    names = tag_names(kind)
    found = {
        s: [{"tokens": r["tokens"], tags: [names.index(tag) for tag in r["tags"]]} for r in split]
        for s, split in rows(kind).items()
    }
    labels = {"names": names, "_type": "ClassLabel"}
    features = {"tokens": {"feature": STRING, "_type": "Sequence"}, tags: {"feature": labels, "_type": "Sequence"}}
    return found, features


def add_world(hub: Hub, *, flat_ner: bool = False) -> None:
    """All that `ndogo compress swahili` reads in the hub profile, and two copies of data sets that are scripts there."""
    add_teacher(hub)
    add_corpus(hub)
    add_converted(hub, "Davlan/sib200", "swh_Latn", renamed("topic", "text", "category"), {})
    add_converted(hub, "masakhane/afrisenti", "swa", renamed("sentiment", "tweet", "label"), {})
    add_converted(hub, "masakhane/masakhaner2", "swa", *tagged("ner", "ner_tags"), flat=flat_ner)
    hub.add("dataset", "masakhane/masakhapos", {"README.md": card(license="afl-3.0"), "masakhapos.py": SCRIPT})
    add_pos_copy(hub)


def add_teacher(hub: Hub) -> None:
    """Safetensors beside pickled weights, as Davlan/afro-xlmr-base has them, and code that is never to be run."""
    files = folder_files(pocket.teacher())
    files |= {"README.md": card(license="mit"), "pytorch_model.bin": b"not to be fetched", "modeling.py": SCRIPT}
    hub.add("model", TEACHER, files)


def add_corpus(hub: Hub) -> None:
    """GlotCC: Parquet on main, one folder per language, the card's configurations, two languages."""
    configs = [
        {"config_name": name, "data_files": [{"split": "train", "path": f"v1.0/{name}/*.parquet"}]}
        for name in ("hau-Latn", "swh-Latn")
    ]
    half = LINES // 2
    features = {"content": STRING, "lang": STRING}
    files = {"README.md": card(license="cc0-1.0", configs=configs)}
    for number, part in enumerate((lines()[:half], lines()[half:])):
        made = [{"content": "\n".join(part[n : n + 10]), "lang": "swh-Latn"} for n in range(0, half, 10)]
        files[f"v1.0/swh-Latn/swh-Latn_{number}.parquet"] = parquet(made, features)
    files["v1.0/hau-Latn/hau-Latn_0.parquet"] = parquet([{"content": "wani harshe", "lang": "hau-Latn"}], features)
    hub.add("dataset", "cis-lmu/GlotCC-V1", files)


def add_converted(
    hub: Hub,
    name: str,
    configuration: str,
    found: Mapping[str, Any],
    features: Mapping[str, Any],
    *,
    flat: bool = False,
) -> None:
    """A script on main, and the hub's own Parquet of it, in which another language comes first."""
    made = hub.add("dataset", name, {"README.md": card(license="cc-by-4.0"), f"{name.split('/')[1]}.py": SCRIPT})
    files = {}
    for config in ("amh", configuration):
        for split, word in WORDS.items():
            part = found[split] if config == configuration else found[split][:3]
            path = f"{config}/{name.split('/')[1]}-{word}.parquet" if flat else f"{config}/{word}/0000.parquet"
            files[path] = parquet(part, features or {column: STRING for column in part[0]})
    made.commit(files, PARQUET)


def add_translations(hub: Hub) -> None:
    """NTREX: a script and the hub's Parquet of it, a configuration per language; and topic rows in both languages."""
    made = hub.add("dataset", "davidstap/NTREX", {"README.md": card(license="cc-by-sa-4.0"), "NTREX.py": SCRIPT})
    texts = {code: [{"text": f"{code} {number}"} for number in range(5)] for code in ("amh", "eng", "swa")}
    made.commit({f"{c}_Latn/test/0000.parquet": parquet(t, {"text": STRING}) for c, t in texts.items()}, PARQUET)
    topic = hub.add("dataset", "Davlan/sib200", {"README.md": card(license="cc-by-4.0"), "sib200.py": SCRIPT})
    features = {"text": STRING, "category": STRING}
    files = {}
    for code in ("eng_Latn", "swh_Latn"):
        for split, found in renamed("topic", "text", "category").items():
            told = [row | {"text": f"{code} {split} {number}"} for number, row in enumerate(found)]
            files[f"{code}/{WORDS[split]}/0000.parquet"] = parquet(told, features)
    topic.commit(files, PARQUET)


def add_pos_copy(hub: Hub) -> None:
    """A user's own copy of the part-of-speech data, since the hub has none."""
    found, features = tagged("pos", "upos")
    files = {f"swa/{word}-00000-of-00001.parquet": parquet(found[split], features) for split, word in WORDS.items()}
    hub.add("dataset", "mama/masakhapos-swa", {"README.md": card(license="cc-by-nc-4.0"), **files})
