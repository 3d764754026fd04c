"""Scalar factors and shifts between convolutions, written so that the runtime can do away with them.

PP-OCR's graphs scale and shift what comes out of each convolution, and out of each activation, by two numbers. A `Mul`
and an `Add` by a number each are a walk through memory, out of the layout in which convolutions are fast. A
`BatchNormalization` ONNX Runtime makes part of the convolution before it, or leaves in that layout: a recogniser takes
0.6 of the time on a CPU.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from adapter.preparation.graphs.file import opset_of
from adapter.preparation.graphs.nodes import constant, replace_nodes

_FIRST_OPSET = 9
"""Since when a BatchNormalization is always one by channel."""
_IMAGE_RANK = 4

Nodes = list[onnx.NodeProto]
Numbers = Mapping[str, float]
"""The weights that are one number each."""


def normalise_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces each `Mul` and `Add` of a tensor (n, channels, height, width) by numbers, by a normalisation.

    Args:
        model: it is changed, where it has such pairs.
    """
    has_subgraphs = any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute)
    if has_subgraphs or opset_of(model) < _FIRST_OPSET:
        return model
    numbers = _numbers(model.graph)
    nodes = _without_identities(model.graph)
    if pairs := _pairs(nodes, numbers, {output.name for output in model.graph.output}):
        channels = _channels(model)
        products = {total: product for total, product in pairs.items() if product.output[0] in channels}
        gone = {product.output[0] for product in products.values()}
        replaced = [
            new
            for node in nodes
            if node.output[0] not in gone
            for new in (
                _normalisation(products[node.output[0]], node, numbers, channels)
                if node.output[0] in products
                else [node]
            )
        ]
        replace_nodes(model.graph, replaced)
    return model


def _numbers(graph: onnx.GraphProto) -> Numbers:
    return {
        tensor.name: float(numpy_helper.to_array(tensor).item())
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) <= _IMAGE_RANK
        and np.prod(tensor.dims) == 1
        and tensor.data_location != TensorProto.EXTERNAL
    }


def _without_identities(graph: onnx.GraphProto) -> Nodes:
    """The nodes as they are without those that do nothing, which lie between what belongs together."""
    outputs = {output.name for output in graph.output}
    same: dict[str, str] = {}
    nodes = []
    for original in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    return nodes


def _pairs(nodes: Nodes, numbers: Numbers, outputs: set[str]) -> Mapping[str, onnx.NodeProto]:
    """Output of each `Add` of a number → the `Mul` by a number before it, which nobody else reads."""
    readers = Counter(name for node in nodes for name in node.input)
    products = {node.output[0]: node for node in nodes if _is_by_number(node, "Mul", numbers)}
    return {
        node.output[0]: products[name]
        for node in nodes
        if _is_by_number(node, "Add", numbers)
        for name in node.input
        if name in products and readers[name] == 1 and name not in outputs
    }


def _is_by_number(node: onnx.NodeProto, operator: str, numbers: Numbers) -> bool:
    return node.op_type == operator and sum(name in numbers for name in node.input) == 1


def _channels(model: onnx.ModelProto) -> Mapping[str, int]:
    """Name → channels of each tensor (n, channels, height, width)."""
    found = shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: value.type.tensor_type.shape.dim for value in found}
    return {
        name: dims[1].dim_value
        for name, dims in shapes.items()
        if len(dims) == _IMAGE_RANK and dims[1].dim_value
    }


def _normalisation(
    product: onnx.NodeProto, total: onnx.NodeProto, numbers: Numbers, channels: Mapping[str, int]
) -> Nodes:
    """What does the same as both nodes."""
    (source,) = (name for name in product.input if name not in numbers)
    (factor,), (shift,) = (
        [numbers[name] for name in node.input if name in numbers] for node in (product, total)
    )
    output, count = total.output[0], channels[product.output[0]]
    weights = {"scale": factor, "shift": shift, "mean": 0.0, "variance": 1.0}
    names = {part: f"affine/{output}/{part}" for part in weights}
    constants = [
        constant(names[part], np.full(count, number, np.float32)) for part, number in weights.items()
    ]
    inputs = [source, *names.values()]
    return [*constants, helper.make_node("BatchNormalization", inputs, [output], epsilon=0.0)]
