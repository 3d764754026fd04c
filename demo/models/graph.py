"""ONNX graphs put together node by node."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]


class Graph:
    """Nodes and constants, put into a model one by one: a copy of all would double what large weights take.

    ONNX's operators are its methods: `graph.Conv("image", weights, strides=[2, 2])` gives the name of the output, which
    is `to` if that is given. Names are strings; arrays, lists and numbers become constants, of float32 or int64.
    """

    def __init__(self) -> None:
        self._model = onnx.ModelProto(ir_version=10)

    def __getattr__(self, operator: str) -> Callable[..., str]:
        return partial(self._add, operator)

    def _add(self, operator: str, *inputs: Any, to: str = "", **attributes: Any) -> str:
        nodes = self._model.graph.node
        to = to or f"{operator.lower()}_{len(nodes)}"
        names = [each if isinstance(each, str) else self._constant(np.asarray(each)) for each in inputs]
        nodes.append(helper.make_node(operator, names, [to], **attributes))
        return to

    def _constant(self, value: Any) -> str:
        constants = self._model.graph.initializer
        name = f"constant_{len(constants)}"
        kind = np.float32 if value.dtype.kind == "f" else np.int64
        constants.append(numpy_helper.from_array(value.astype(kind, copy=False), name))
        return name

    def model(
        self, name: str, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims], *, opset: int = 17
    ) -> onnx.ModelProto:
        """The finished model; inputs named `text` are of int32, everything else of float32."""
        self._model.producer_name = self._model.graph.name = name
        self._model.opset_import.append(helper.make_opsetid("", opset))
        for values, shapes in ((self._model.graph.input, inputs), (self._model.graph.output, outputs)):
            for tensor, dims in shapes.items():
                kind = TensorProto.INT32 if tensor == "text" else TensorProto.FLOAT
                values.append(helper.make_tensor_value_info(tensor, kind, dims))
        return self._model
