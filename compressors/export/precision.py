"""One graph in three precisions: fp32 as exported, fp16 weights, and int8 with the embedding table in int8 too.

All is said in plain ONNX operators, so that every runtime reads it. fp16 is how the weights lie in the file; they are turned
back to fp32 when the file is loaded, since CPUs and WASM compute in fp32.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ndogo.core.exported import MIDDLE

Precision = Literal["fp32", "fp16", "int8"]

FILES: dict[Precision, str] = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_quantized.onnx"}
"""The names that transformers.js and sentence-transformers look for."""

MULTIPLIED, LOOKED_UP = 63, 127
"""The largest whole number of a matrix and of a table. Kernels without VNNI add two products of eight bits in sixteen, which
overflows with eight-bit weights: a matrix has seven. What is only looked up has eight."""

SMALL = 256
"""Tensors of fewer numbers stay as they are."""


def in_precision(graph: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """A copy of an fp32 graph in another precision."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    if precision == "fp16":
        _halve(model.graph)
    elif precision == "int8":
        _Quantiser(model.graph).run()
    return model


def full_tables(model: onnx.ModelProto) -> list[str]:
    """Names of the weight matrices and tables that lie in fp32 or fp16: in an int8 file there must be none."""
    wide = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type in wide and sum(side > 1 for side in tensor.dims) > 1 and np.prod(tensor.dims) >= SMALL
    ]


def _halve(graph: onnx.GraphProto) -> None:
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALL:
            name, limit = tensor.name, float(np.finfo(np.float16).max)
            half = np.clip(numpy_helper.to_array(tensor), -limit, limit).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    _put_first(graph, casts)


def _put_first(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    after = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *after])


class _Quantiser:
    """Rewrites one graph: each table and each matrix becomes whole numbers with one scale per row of the table or per column.

    A table is looked up as it lies and its rows are scaled. The input of a matrix is quantised when it runs; where the matrix
    is not square (both of a feed-forward block) each token has a scale of its own. For attention's that gains nothing.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.whole: dict[tuple[str, int], tuple[str, str]] = {}
        """Of a weight and the axis that keeps its own scales: the names of its whole numbers and of the scales."""
        self.rounded: dict[str, tuple[str, str, str]] = {}
        """Of an activation: its whole numbers, scale and zero point."""
        self.levelled: set[str] = set()
        """Activations whose rows were divided by their largest number."""
        self.added: list[onnx.TensorProto] = []
        read = [node.input[1] for node in graph.node if node.op_type in ("MatMul", "Gemm")]
        self.multiplied = {self._matrix(name)[0] for name in read}

    def run(self) -> None:
        """Rewrite the graph in place."""
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            nodes += self._rewritten(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self._forget()

    def _rewritten(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.op_type == "Gather" and self._is_matrix(node.input[0]) and not _axis(node):
            return list(self._look_up(node))
        if node.op_type == "MatMul":
            weight, turned = self._matrix(node.input[1])
            if weight:
                return list(self._multiply(node, weight, turned))
        if node.op_type == "Gemm" and self._is_matrix(node.input[1]) and _plain_gemm(node):
            return list(self._gemm(node))
        return [node]

    def _is_matrix(self, name: str) -> bool:
        tensor = self.weights.get(name)
        return tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2

    def _matrix(self, name: str) -> tuple[str, bool]:
        """The weight that a MatMul reads, and whether it lies transposed; no name where it reads no weight."""
        if self._is_matrix(name):
            return name, False
        before = self.made_by.get(name)
        if before is not None and before.op_type == "Transpose" and self._is_matrix(before.input[0]):
            return before.input[0], True
        return "", False

    def _quantised(self, name: str, axis: int) -> tuple[str, str]:
        """Names of a weight's whole numbers and of the scales along `axis`: scales (n, 1) for rows, (n,) for columns."""
        if (name, axis) not in self.whole:
            weight = numpy_helper.to_array(self.weights[name])
            largest = np.abs(weight).max(axis=1 - axis, keepdims=True)
            most = MULTIPLIED if name in self.multiplied else LOOKED_UP
            scale = np.maximum(largest / most, np.finfo(np.float32).tiny).astype(np.float32)
            whole = np.clip(np.rint(weight / scale), -most, most).astype(np.int8)
            names = f"{name}_int8_{axis}", f"{name}_scale_{axis}"
            self._add(whole, names[0])
            self._add(scale if axis == 0 else scale[0], names[1])
            self.whole[name, axis] = names
        return self.whole[name, axis]

    def _add(self, array: np.ndarray, name: str) -> str:
        self.added.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _look_up(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        whole, scale = self._quantised(node.input[0], 0)
        ids, out = node.input[1], node.output[0]
        yield helper.make_node("Gather", [whole, ids], [f"{out}_int8"], axis=0)
        yield helper.make_node("Gather", [scale, ids], [f"{out}_scale"], axis=0)
        yield helper.make_node("Cast", [f"{out}_int8"], [f"{out}_whole"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{out}_whole", f"{out}_scale"], [out])

    def _multiply(self, node: onnx.NodeProto, weight: str, turned: bool) -> Iterator[onnx.NodeProto]:
        out = node.output[0]
        whole, scale = self._quantised(weight, 0 if turned else 1)
        if turned:  # a tied table: its rows are the columns, so one copy in the file serves both
            flat, turned_whole = f"{scale}_flat", f"{whole}_turned"
            if flat not in self.made_by:
                self.made_by[flat] = node
                shape = self._add(np.array([-1], dtype=np.int64), f"{flat}_shape")
                yield helper.make_node("Reshape", [scale, shape], [flat])
                yield helper.make_node("Transpose", [whole], [turned_whole], perm=[1, 0])
            whole, scale = turned_whole, flat
        read = node.input[0]
        inner, columns = self.weights[weight].dims[::-1] if turned else self.weights[weight].dims
        if inner != columns:
            yield from self._level(read)
            read, unit = f"{read}_level", f"{out}_level"
        else:
            unit = out
        yield from self._round(read)
        activation, own_scale, zero = self.rounded[read]
        yield helper.make_node("MatMulInteger", [activation, whole, zero], [f"{out}_int32"])
        yield helper.make_node("Cast", [f"{out}_int32"], [f"{out}_whole"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [own_scale, scale], [f"{out}_scale"])
        yield helper.make_node("Mul", [f"{out}_whole", f"{out}_scale"], [unit])
        if unit != out:
            yield helper.make_node("Mul", [unit, f"{node.input[0]}_most"], [out])

    def _level(self, name: str) -> Iterator[onnx.NodeProto]:
        """Divide each row of an activation by its largest number: tokens with small numbers then lose no more than others."""
        if name not in self.levelled:
            self.levelled.add(name)
            axis = self._add(np.array([-1], dtype=np.int64), f"{name}_axis")
            least = self._add(np.array(1e-12, dtype=np.float32), f"{name}_least")
            yield helper.make_node("Abs", [name], [f"{name}_abs"])
            yield helper.make_node("ReduceMax", [f"{name}_abs", axis], [f"{name}_largest"], keepdims=1)
            yield helper.make_node("Max", [f"{name}_largest", least], [f"{name}_most"])
            yield helper.make_node("Div", [name, f"{name}_most"], [f"{name}_level"])

    def _round(self, name: str) -> Iterator[onnx.NodeProto]:
        if name not in self.rounded:
            self.rounded[name] = (f"{name}_u8", f"{name}_u8_scale", f"{name}_u8_zero")
            yield helper.make_node("DynamicQuantizeLinear", [name], list(self.rounded[name]))

    def _gemm(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """A Gemm is a product and a sum."""
        out, turned = node.output[0], any(a.name == "transB" and a.i for a in node.attribute)
        product = out if len(node.input) < 3 else f"{out}_product"
        yield from self._multiply(helper.make_node("MatMul", node.input[:2], [product]), node.input[1], turned)
        if len(node.input) > 2:
            yield helper.make_node("Add", [product, node.input[2]], [out])

    def _forget(self) -> None:
        """Leave out weights and nodes that nothing reads any more."""
        while True:
            read = {name for node in self.graph.node for name in node.input} | {o.name for o in self.graph.output}
            kept = [node for node in self.graph.node if (read | {MIDDLE}) & set(node.output)]
            if len(kept) == len(self.graph.node):
                break
            del self.graph.node[:]
            self.graph.node.extend(kept)
        tensors = [t for t in (*self.graph.initializer, *self.added) if t.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(tensors)


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _plain_gemm(node: onnx.NodeProto) -> bool:
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    return all(helper.get_attribute_value(a) == plain[a.name] for a in node.attribute if a.name in plain)
