"""The tokenizer's files in new ids, all from one list of kept ids: nothing is rebuilt, everything else survives as it was."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ndogo.compressors.vocabulary.closure import merge_pair
from ndogo.compressors.vocabulary.model import remapped_ids
from ndogo.compressors.vocabulary.source import Vocabulary

SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
TWINS = (*SENTENCEPIECE_FILES, "vocab.txt", "vocab.json", "merges.txt")
"""Files from which the tokenizer can be loaded without tokenizer.json."""
COPIED = ("special_tokens_map.json", "chat_template.jinja")


def write_tokenizer(source: Path, out: Path, vocabulary: Vocabulary, kept: Sequence[int]) -> None:
    """Write the trimmed form of every tokenizer file of `source` into `out`, and tokenizer.json in any case."""
    new_id = {old: new for new, old in enumerate(kept)}
    # By Python: a round trip through the Rust library moves some Unigram scores by one unit in the last place.
    write_json(out / "tokenizer.json", trimmed_document(vocabulary, new_id))
    for name in SENTENCEPIECE_FILES:
        if (source / name).is_file():
            (out / name).write_bytes(trimmed_proto((source / name).read_bytes(), vocabulary, new_id))
    tokens = [vocabulary.tokens[i] for i in kept]
    if (source / "vocab.txt").is_file():
        (out / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    if (source / "vocab.json").is_file():
        model_ids = vocabulary.model["vocab"]
        write_json(out / "vocab.json", {p: i for i, p in enumerate(tokens) if p in model_ids})
    if (source / "merges.txt").is_file():
        merges = _kept_merges(vocabulary, new_id)
        text = "#version: 0.2\n" + "".join(" ".join(merge_pair(merge)) + "\n" for merge in merges)
        (out / "merges.txt").write_text(text, encoding="utf-8")
    _write_settings(source, out, new_id)


def _write_settings(source: Path, out: Path, new_id: dict[int, int]) -> None:
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    if (source / "tokenizer_config.json").is_file():
        settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
        if added := settings.get("added_tokens_decoder"):
            settings["added_tokens_decoder"] = {
                str(new_id[int(i)]): token for i, token in added.items() if int(i) in new_id
            }
        for name in ("vocab_file", "tokenizer_file", "merges_file"):  # where the untrimmed files lay, on some machine
            settings.pop(name, None)
        write_json(out / "tokenizer_config.json", settings, indent=2)
    if (source / "added_tokens.json").is_file():
        tokens = json.loads((source / "added_tokens.json").read_text(encoding="utf-8"))
        write_json(out / "added_tokens.json", {t: new_id[i] for t, i in tokens.items() if i in new_id}, indent=2)
    if (source / "generation_config.json").is_file():
        settings = json.loads((source / "generation_config.json").read_text(encoding="utf-8"))
        write_json(out / "generation_config.json", settings | remapped_ids(settings, new_id), indent=2)


def trimmed_document(vocabulary: Vocabulary, new_id: dict[int, int]) -> dict[str, Any]:
    """The content of tokenizer.json in new ids; the vocabulary's own is left untouched."""
    model = dict(vocabulary.model)
    if vocabulary.family == "Unigram":
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new_id]
        if model.get("unk_id") is not None:
            model["unk_id"] = new_id[model["unk_id"]]
    else:
        kept = sorted((new_id[i], token) for token, i in model["vocab"].items() if i in new_id)
        model["vocab"] = {token: i for i, token in kept}
    if vocabulary.family == "BPE":
        model["merges"] = _kept_merges(vocabulary, new_id)
    document = vocabulary.document | {"model": model}
    document["added_tokens"] = [
        token | {"id": new_id[vocabulary.ids[token["content"]]]} for token in document["added_tokens"]
    ]
    document["post_processor"] = _in_new_ids(document.get("post_processor"), new_id)
    if document.get("padding"):
        document["padding"] = document["padding"] | {"pad_id": new_id[document["padding"]["pad_id"]]}
    return document


def _kept_merges(vocabulary: Vocabulary, new_id: dict[int, int]) -> list[Any]:
    kept = {vocabulary.tokens[i] for i in new_id}
    found = []
    for merge in vocabulary.model["merges"]:
        left, right = merge_pair(merge)
        if left in kept and right in kept and left + right in kept:
            found.append(merge)
    return found


def _in_new_ids(part: Any, new_id: dict[int, int]) -> Any:
    """A copy of a post-processor section with its ids replaced; the same places as `source.processor_ids` reads."""
    if isinstance(part, list):
        if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):
            return [part[0], new_id[part[1]]]
        return [_in_new_ids(item, new_id) for item in part]
    if isinstance(part, dict):
        return {
            key: [new_id[i] for i in value]
            if key == "ids" and all(isinstance(i, int) for i in value)
            else _in_new_ids(value, new_id)
            for key, value in part.items()
        }
    return part


def trimmed_proto(raw: bytes, vocabulary: Vocabulary, new_id: dict[int, int]) -> bytes:
    """The SentencePiece model with the kept pieces only, in their old order; those that are no token of ours stay."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(raw)  # type: ignore[attr-defined]  # generated at import
    ids = vocabulary.ids
    places = [n for n, p in enumerate(proto.pieces) if p.piece not in ids or ids[p.piece] in new_id]
    kept = [proto.pieces[n].SerializeToString() for n in places]
    new_place = {old: new for new, old in enumerate(places)}
    del proto.pieces[:]
    for piece in kept:
        proto.pieces.add().ParseFromString(piece)
    proto.trainer_spec.vocab_size = len(kept)
    for name in ("unk_id", "bos_id", "eos_id", "pad_id"):
        place = getattr(proto.trainer_spec, name)
        if place >= 0:
            setattr(proto.trainer_spec, name, new_place.get(place, -1))
    return bytes(proto.SerializeToString())


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write JSON with letters as they are."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")
