"""New nodes for an operator that shall take a batch, put together one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapter.preparation.graphs.batching.trace import Array, Place, Traced, Untraceable, grown

COUNT = "batch/count"
"""Name of a tensor that holds the batch's size: int64 [1]."""

ROWS = "batch/rows"
"""Name of a tensor that holds 0, 1 … up to the batch's size: int64 [n]."""


@dataclass(frozen=True)
class Choice:
    """Nodes that take an original node's place, and what is then known of its outputs."""

    nodes: Sequence[onnx.NodeProto]
    outputs: Sequence[Traced]


class NodeBuilder:
    """The nodes of a choice while they are put together. `node` is a copy of the original that may be changed."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = onnx.NodeProto()
        self.node.CopyFrom(node)
        self._added: list[onnx.NodeProto] = []

    def choice(self, outputs: Sequence[Traced]) -> Choice:
        return Choice([*self._added, self.node], outputs)

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The new node's output."""
        output = f"batch/{self.node.output[0]}/{len(self._added)}"
        self._added.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def integers(self, values: Array | Sequence[int]) -> str:
        return self.add("Constant", [], value=numpy_helper.from_array(np.asarray(values, np.int64)))

    def sizes(self, shape: Sequence[int], axis: int) -> str:
        """A shape whose size at `axis` is the batch's."""
        ahead, behind = shape[:axis], shape[axis + 1 :]
        parts = [self.integers(ahead)] if ahead else []
        parts += [COUNT, self.integers(behind)] if behind else [COUNT]
        return self.add("Concat", parts, axis=0)

    def repeat(self, index: int, tensor: Traced, place: Place) -> Traced:
        """Gives an input that is the same for every item a batch, of `place`."""
        if place.outer != 1:
            raise Untraceable("an input without a batch would have to be repeated within an axis")
        repeats = self.sizes([1] * len(tensor.one), place.axis)
        self.node.input[index] = self.add("Tile", [self.node.input[index], repeats])
        return replace(tensor, many=grown(tensor.one, place.axis), place=place, value_many=None)

    def offset(self, index: int, tensor: Traced, steps: Sequence[int]) -> Traced:
        """Adds `steps` times the row's number to an input that holds indices."""
        assert tensor.place
        shape = [-1 if axis == tensor.place.axis else 1 for axis in range(len(tensor.one))]
        rows = self.add("Reshape", [ROWS, self.integers(shape)])
        ahead = self.add("Mul", [rows, self.integers(steps)])
        if tensor.elem_type != TensorProto.INT64:
            ahead = self.add("Cast", [ahead], to=tensor.elem_type)
        self.node.input[index] = self.add("Add", [self.node.input[index], ahead])
        return replace(tensor, counts=True)
