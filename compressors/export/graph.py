"""An ONNX graph by torch's own exporter: any number of texts, any length, one opset."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from ndogo.compressors.export.heads import Exportable
from ndogo.core.errors import NdogoError
from ndogo.core.exported import MIDDLE

OPSET = 18
"""LayerNormalization is an operator since 17, and torch's exporter writes 18; every runtime since 2023 reads it."""

INPUTS = ("input_ids", "attention_mask")
"""Both (texts, length), int64. Token types are left out: one text is type 0."""


def graph_of(source: Exportable) -> onnx.ModelProto:
    """The fp32 graph; inputs (texts, length), outputs as `source.outputs` says but for the middle states, which stay inside.

    :raises NdogoError: torch's exporter cannot express the model.
    """
    ids_BL = torch.arange(14).reshape(2, 7) % source.model.config.vocab_size
    mask_BL = torch.ones_like(ids_BL)
    mask_BL[1, 5:] = 0
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("length")}
    try:
        with _quiet():
            program = torch.onnx.export(
                source.module,
                (ids_BL, mask_BL),
                input_names=list(INPUTS),
                output_names=source.outputs,
                dynamic_shapes=dict.fromkeys(INPUTS, axes),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise NdogoError(f"torch cannot export `{type(source.model).__name__}`: {error}") from error
    assert program is not None
    graph = program.model_proto
    _lean(graph)
    _tie(graph.graph)
    return graph


def _lean(model: onnx.ModelProto) -> None:
    """Leave out what only the exporter's authors read, and keep the middle states inside."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
    del model.functions[:]
    for position, output in enumerate(graph.output):
        if output.name == MIDDLE:
            del graph.output[position]
            break


def _tie(graph: onnx.GraphProto) -> None:
    """Store a tied table once: the exporter turns small ones for the decoder beforehand, which makes two of one."""
    weights = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    looked_up = {node.input[0] for node in graph.node if node.op_type == "Gather"} & set(weights)
    for name in sorted(set(weights) - looked_up):
        for table in looked_up:
            if list(weights[name].dims) == list(reversed(weights[table].dims)) and np.array_equal(
                numpy_helper.to_array(weights[name]), numpy_helper.to_array(weights[table]).T
            ):
                graph.initializer.remove(weights[name])
                graph.node.insert(0, onnx.helper.make_node("Transpose", [table], [name], perm=[1, 0]))
                break


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporter tells of libraries that are absent and of what it will drop some day: nothing for a user to do."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
