"""Text graphs that were exported for texts of one length, made to take shorter ones too."""

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapter.preparation.graphs.file import inputs_of
from adapter.preparation.graphs.nodes import constant, replace_nodes

LENGTH = "length"
"""What the variable axis is called in the graph."""

SIZE, SIZES = "length/size", "length/sizes"
"""Names of tensors that hold the length of the texts that came in: int64 [] and [1]."""

MAX_SHAPE = 16
"""Integers in a longer constant are weights or indices, not sizes."""


def make_length_dynamic(model: onnx.ModelProto, length: int) -> onnx.ModelProto:
    """Gives every input a variable axis 1, named `length`, for texts of up to `length` tokens.

    Wherever the graph holds that number, it is taken for the length: tables, such as those of positions and of a causal
    mask, are cut along every axis of that size, and in shapes the number gives way to the length of what came in. It
    is a rare number, unlike the 1 of a batch, which has to be followed through the graph. The caller proves the result.

    Args:
        model: a graph with inputs of (batch, `length`). It may be changed.
    """
    graph = model.graph
    fitted = {name: nodes for name, table in _constants(graph) if (nodes := _fit(name, table, length))}
    first = [node for node in graph.node if node.op_type == "Constant"]
    rest = [node for node in graph.node if node.op_type != "Constant"]
    for node in rest:
        node.input[:] = [fitted[name][-1].output[0] if name in fitted else name for name in node.input]
    measured = _measure(inputs_of(model)[0].name)
    replace_nodes(graph, [*first, *measured, *(node for nodes in fitted.values() for node in nodes), *rest])
    del graph.value_info[:]
    for value in inputs_of(model):
        value.type.tensor_type.shape.dim[1].dim_param = LENGTH
    return model


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Weights and constants by name, but for single floats and strings."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            value = helper.get_attribute_value(attribute)
            if attribute.name == "value":
                yield node.output[0], value
            elif attribute.name in ("value_int", "value_ints"):
                yield node.output[0], numpy_helper.from_array(np.array(value, np.int64))


def _fit(name: str, table: onnx.TensorProto, length: int) -> list[onnx.NodeProto]:
    """Nodes of which the last gives what the table is for texts of any length; none where that is the table itself."""
    if _is_shape(table):
        is_length = numpy_helper.to_array(table) == length
        return _put_length(name, is_length) if is_length.any() else []
    nodes: list[onnx.NodeProto] = []
    for axis in (axis for axis, size in enumerate(table.dims) if size == length):
        nodes += _cut(nodes[-1].output[0] if nodes else name, axis)
    return nodes


def _is_shape(table: onnx.TensorProto) -> bool:
    is_apart = table.data_location == TensorProto.EXTERNAL
    return table.data_type == TensorProto.INT64 and prod(table.dims) <= MAX_SHAPE and not is_apart


def _put_length(name: str, where: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[onnx.NodeProto]:
    flags, result = f"length/{name}/flags", f"length/{name}"
    return [
        constant(flags, where),
        helper.make_node("Where", [flags, SIZE, name], [result]),
    ]


def _cut(name: str, axis: int) -> list[onnx.NodeProto]:
    start, axes, result = (f"length/{name}/{part}" for part in (f"start{axis}", f"axis{axis}", axis))
    return [
        constant(start, [0]),
        constant(axes, [axis]),
        helper.make_node("Slice", [name, start, SIZES, axes], [result]),
    ]


def _measure(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Shape", [name], ["length/shape"]),
        constant("length/one", 1),
        constant("length/ones", [1]),
        helper.make_node("Gather", ["length/shape", "length/one"], [SIZE]),
        helper.make_node("Gather", ["length/shape", "length/ones"], [SIZES]),
    ]
