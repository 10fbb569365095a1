"""A file of an export as an encoder, so that it is judged by the same benchmarks as the model that it was made from."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import onnx
import onnxruntime
import torch
from torch import nn
from transformers import PreTrainedModel

from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, HIDDEN, MANIFEST
from ndogo.core.models import empty_model, load_config, load_tokenizer
from ndogo.core.sentences import read_vectors
from ndogo.core.vectors import read_dense
from ndogo.evaluation.encoder import Encoder


class _File(nn.Module):
    """A file that answers as an encoder does; it computes on the CPU, in onnxruntime, each row alone.

    Alone, because an int8 file rounds its inputs by the largest of them all, so that a neighbour would change an answer.
    """

    def __init__(self, model: onnx.ModelProto, config: Any, threads: int) -> None:
        super().__init__()
        self.hidden_size: int = config.hidden_size
        self.config = config
        self.body = [empty_model(config).base_model]  # in a list, since it is no child: it has no weights to move
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Those of the model that the file was made from."""
        return self.body[0].parameters(recurse)

    @property
    def base_model(self) -> nn.Module:
        """The shape of that model, without weights."""
        return self.body[0]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any) -> SimpleNamespace:
        """Ids and mask (B, L) to the last layer's states (B, L, H), zero where there is padding."""
        ids_BL = input_ids.cpu()
        lengths = [ids_BL.shape[1]] * len(ids_BL) if attention_mask is None else attention_mask.sum(1).tolist()
        shape = (*ids_BL.shape, self.hidden_size)
        last_BLH = torch.zeros(shape)
        for row, length in enumerate(lengths):
            inputs = {"input_ids": ids_BL[row : row + 1, :length].numpy()}
            inputs["attention_mask"] = torch.ones_like(ids_BL[row : row + 1, :length]).numpy()
            (found,) = self.session.run([HIDDEN], inputs)
            last_BLH[row, :length] = torch.from_numpy(found[0])
        return SimpleNamespace(last_hidden_state=last_BLH)


def load_exported(path: Path, file: str = "", threads: int = 1) -> Encoder:
    """One file of an export (default: the one that export.json names), to be probed or timed as an encoder.

    :raises NdogoError: there is no export, or no such file.
    """
    folder = path / FOLDER
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        name = file or manifest["default"]
        model = onnx.load(folder / name)
    except (OSError, ValueError, KeyError) as error:
        raise NdogoError(f"There is no export to judge: {error}", where=str(folder), cure="Export it first.") from error
    _only_states(model.graph)
    judged = _File(model, load_config(path), threads)
    vectors, tokenizer = read_vectors(path), load_tokenizer(path)
    called = f"{path.name}/{name}"
    return Encoder(called, cast(PreTrainedModel, judged), tokenizer, vectors=vectors, dense=read_dense(path, vectors))


def _only_states(graph: onnx.GraphProto) -> None:
    """Leave the encoder of a file, which a probe needs, without its head."""
    shape = ["texts", "length", None]
    states = onnx.helper.make_tensor_value_info(HIDDEN, onnx.TensorProto.FLOAT, shape)
    read, kept = {HIDDEN}, []
    for node in reversed(graph.node):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.output[:], graph.node[:]
    graph.output.append(states)
    graph.node.extend(nodes)
