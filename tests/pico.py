"""Pico models: whole model directories of every supported family, built in code in a moment, with no download."""

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertTokenizerFast,
    DebertaV2Config,
    DebertaV2Tokenizer,
    DistilBertConfig,
    EuroBertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)

TEXT = [
    "Watoto wadogo wanacheza mpira uwanjani kila siku.",
    "Mtoto mdogo anasoma kitabu kizuri nyumbani.",
    "Kitabu kikubwa kiko mezani, lakini vitabu vidogo viko chini.",
    "Serikali ya Tanzania imetangaza bajeti mpya ya elimu.",
    "Àwọn ọmọdé ń ṣeré ní pápá, ẹ kú iṣẹ́ o!",
    "Ħafna tfal żgħar jilagħbu fil-ġnien kuljum.",
    "Malé deti sa hrajú na ihrisku, čítajú a kreslia: ľahko, ťažko.",
    "Ƙananan yara suna wasa a fili; ɗan ɓera ya gudu.",
    "The small children play football 2026 times (or more)?",
] * 4
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def xlmr(out: Path) -> Path:
    """XLM-R with a SentencePiece Unigram model in its id layout, both tokenizer files."""
    import io

    import sentencepiece

    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=proto,
        vocab_size=220,
        model_type="unigram",
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "sentencepiece.bpe.model").write_bytes(proto.getvalue())
    tokenizer = XLMRobertaTokenizer.from_pretrained(out, model_max_length=62)
    return _finish(out, XLMRobertaConfig(**_ids(len(tokenizer), tokenizer), **SIZES, num_hidden_layers=2), tokenizer)


def bert(out: Path, *, cased: bool = True) -> Path:
    """BERT with WordPiece."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=None)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=220, special_tokens=SPECIALS, show_progress=False)
    )
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = BertTokenizerFast(tokenizer_object=backend, do_lower_case=not cased, model_max_length=64)
    return _finish(out, BertConfig(**_ids(len(tokenizer), tokenizer), **SIZES, num_hidden_layers=2), tokenizer)


def bert_uncased(out: Path) -> Path:
    """BERT with uncased WordPiece."""
    return bert(out, cased=False)


def distilbert(out: Path) -> Path:
    """DistilBERT with WordPiece."""
    source = bert(out)
    config = DistilBertConfig(
        vocab_size=len(PreTrainedTokenizerFast.from_pretrained(source)),
        n_layers=2,
        dim=32,
        hidden_dim=64,
        n_heads=4,
        max_position_embeddings=66,
    )
    return _finish(out, config, BertTokenizerFast.from_pretrained(source))


def _byte_bpe() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return backend


def roberta(out: Path) -> Path:
    """RoBERTa with byte-level BPE."""
    tokenizer = RobertaTokenizerFast(tokenizer_object=_byte_bpe(), model_max_length=62)
    return _finish(out, RobertaConfig(**_ids(len(tokenizer), tokenizer), **SIZES, num_hidden_layers=2), tokenizer)


def modernbert(out: Path) -> Path:
    """ModernBERT (mmBERT's architecture) with byte-level BPE."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_bpe(),
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )
    config = ModernBertConfig(
        **_ids(len(tokenizer), tokenizer),
        **SIZES,
        num_hidden_layers=4,
        global_attn_every_n_layers=3,
        local_attention=16,
        bos_token_id=0,
        eos_token_id=2,
        cls_token_id=0,
        sep_token_id=2,
    )
    return _finish(out, config, tokenizer)


def eurobert(out: Path) -> Path:
    """EuroBERT (RMSNorm, gate and input matrices apart) with byte-level BPE."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_bpe(),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )
    config = EuroBertConfig(
        **_ids(len(tokenizer), tokenizer),
        **SIZES,
        num_hidden_layers=4,
        bos_token_id=0,
        eos_token_id=2,
        mask_token_id=4,
        tie_word_embeddings=True,
    )
    return _finish(out, config, tokenizer)


def deberta(out: Path, *, legacy: bool = True) -> Path:
    """DeBERTa-v3 (no entry in our table) with a SentencePiece Unigram model in its id layout, both tokenizer files."""
    import io

    import sentencepiece

    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=proto,
        vocab_size=220,
        model_type="unigram",
        character_coverage=1.0,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        minloglevel=2,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "spm.model").write_bytes(proto.getvalue())
    tokenizer = DebertaV2Tokenizer.from_pretrained(out, model_max_length=64)
    config = DebertaV2Config(
        **_ids(len(tokenizer), tokenizer),
        **SIZES,
        num_hidden_layers=2,
        relative_attention=True,
        position_buckets=16,
        pos_att_type="p2c|c2p",
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        legacy=legacy,
    )
    return _finish(out, config, tokenizer)


def deberta_shared(out: Path) -> Path:
    """The same with the head that has no matrix of its own and multiplies by the word embedding."""
    return deberta(out, legacy=False)


def _ids(vocab: int, tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {"vocab_size": vocab, "max_position_embeddings": 66, "pad_token_id": tokenizer.pad_token_id}


def _finish(out: Path, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> Path:
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:  # biases and norms start at constants, which would hide an index mistake
            torch.nn.init.normal_(parameter, mean=float("norm" in name.lower() and "weight" in name), std=0.2)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "xlmr": xlmr,
    "bert": bert,
    "bert_uncased": bert_uncased,
    "distilbert": distilbert,
    "roberta": roberta,
    "modernbert": modernbert,
    "eurobert": eurobert,
}
"""Those with an entry in the architecture table."""
UNLISTED: dict[str, Callable[[Path], Path]] = {"deberta": deberta, "deberta_shared": deberta_shared}
"""Those without."""


def embedder(source: Path, out: Path, *, dense: int = 0) -> Path:
    """The bare encoder of a pico directory as an embedding model: no pooler, no head, a sentence-transformers folder."""
    import json
    import shutil

    from safetensors.torch import save_file

    shutil.copytree(source, out)
    bare = AutoModelForMaskedLM.from_pretrained(source).base_model
    bare.save_pretrained(out)
    kinds = ["Transformer", "Pooling", *["Dense"] * bool(dense), "Normalize"]
    modules = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": 60, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "document": ""}},
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
    }
    if dense:
        settings = {"in_features": 32, "out_features": dense, "bias": True}
        files["2_Dense/config.json"] = settings | {"activation_function": "torch.nn.modules.linear.Identity"}
    for name, content in files.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(json.dumps(content))
    if dense:
        torch.manual_seed(3)
        tensors = {"linear.weight": torch.randn(dense, 32), "linear.bias": torch.randn(dense)}
        save_file(tensors, out / "2_Dense" / "model.safetensors")
    return out
