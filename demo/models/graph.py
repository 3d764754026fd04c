"""ONNX graphs put together node by node."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]


class Graph:
    """Nodes and constants, put into a model one by one: a copy of all would double what large weights take."""

    def __init__(self) -> None:
        self._model = onnx.ModelProto(ir_version=10)

    def add(self, kind: str, *inputs: str | NDArray[np.generic], to: str = "", **attributes: Any) -> str:
        """Append a node whose arrays become constants; its output's name, `to` if given."""
        nodes = self._model.graph.node
        to = to or f"{kind.lower()}_{len(nodes)}"
        names = [i if isinstance(i, str) else self._constant(i) for i in inputs]
        nodes.append(helper.make_node(kind, names, [to], **attributes))
        return to

    def _constant(self, value: NDArray[np.generic]) -> str:
        constants = self._model.graph.initializer
        name = f"constant_{len(constants)}"
        constants.append(numpy_helper.from_array(value, name))
        return name

    def model(
        self,
        name: str,
        inputs: Mapping[str, Dims],
        outputs: Mapping[str, Dims],
        *,
        kind: int = TensorProto.FLOAT,
        opset: int = 17,
    ) -> onnx.ModelProto:
        """The finished model, with inputs of `kind` and outputs of float32."""
        self._model.producer_name = self._model.graph.name = name
        self._model.opset_import.append(helper.make_opsetid("", opset))
        for values, shapes, type_ in (
            (self._model.graph.input, inputs, kind),
            (self._model.graph.output, outputs, TensorProto.FLOAT),
        ):
            values.extend(helper.make_tensor_value_info(n, type_, dims) for n, dims in shapes.items())
        return self._model


def floats(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)
