"""Nodes of a graph that is rewritten: new constants, other nodes, other names."""

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper


def constant(name: str, value: ArrayLike) -> onnx.NodeProto:
    """A tensor as a node: old graphs allow no initializer that is not an input too. Python's integers become int64."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Gives a graph other nodes; its own may be among them."""
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def rename_input(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Lets all nodes that take a tensor take another one."""
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
