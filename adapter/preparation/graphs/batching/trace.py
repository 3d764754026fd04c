"""Where the batch lies in a tensor, found by following shapes for a batch of one and one of many at once.

An example, with many = 1009. A tower's tokens are (1, 49, 768) and (1009, 49, 768): they differ in axis 0, which is
`Place(0)`. Transposed they are (49, 1, 768) and (49, 1009, 768): `Place(1)`. Split into heads they are (49, 12, 64) and
(49, 12108, 64): axis 1 holds 1009 items of 12 heads each, `Place(1, outer=1, inner=12)`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

MANY = 1009
"""The larger batch: a prime, so that it is seen in every dimension that it is a factor of."""

MAX_VALUES = 1024
"""Longer tensors hold weights or pictures, not the shapes and indices whose values matter here."""

Shape = tuple[int, ...]
Array = NDArray[Any]

_LOOKS = {"Shape", "Size", "CastLike"}
"""They look at a tensor with a batch, and may return one without."""

_SHAPED = {"Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Slice", "Gather", "GatherElements", "Resize"}
"""Only their first input is content; the others say where it goes."""


class Untraceable(Exception):
    """The batch cannot be followed through a node, with what was assumed of the nodes before it."""


@dataclass(frozen=True)
class Place:
    """The batch is a factor of the size of `axis`, which is outer * batch * inner in row-major order."""

    axis: int
    outer: int = 1
    inner: int = 1

    @property
    def is_pure(self) -> bool:
        return self.outer == self.inner == 1


@dataclass(frozen=True)
class Traced:
    """What is known of a tensor.

    Attributes:
        one, many: its shape for a batch of one, and of `MANY`.
        place: where the batch lies; None where both shapes are the same.
        value_one, value_many: what it holds, where that is short and known.
        counts: whether integers in it were computed from the batch's size at run time.
    """

    elem_type: int
    one: Shape
    many: Shape
    place: Place | None = None
    value_one: Array | None = None
    value_many: Array | None = None
    counts: bool = False


Inputs = Sequence[Traced | None]
"""A node's inputs; None for one that is left out."""


def constant(array: Array, elem_type: int | None = None) -> Traced:
    """A tensor that is the same for every batch."""
    value = array if array.size <= MAX_VALUES else None
    elem_type = elem_type or int(helper.np_dtype_to_tensor_dtype(array.dtype))
    return Traced(elem_type, array.shape, array.shape, None, value, value)


def weight(tensor: onnx.TensorProto) -> Traced:
    """An initializer or the value of a Constant; its numbers only where they are few and in the graph's own file."""
    shape = tuple(tensor.dims)
    if prod(shape) > MAX_VALUES or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return Traced(tensor.data_type, shape, shape)
    return constant(numpy_helper.to_array(tensor), tensor.data_type)


def places_after_reshape(before: Shape, place: Place, after: Shape) -> Iterator[Place]:
    """Every place where the batch may lie once a tensor is reshaped. Both shapes are for a batch of one."""
    ahead = prod(before[: place.axis]) * place.outer
    behind = place.inner * prod(before[place.axis + 1 :])
    if 0 in after:
        return
    for axis, size in enumerate(after):
        outer, rest = divmod(ahead, prod(after[:axis]))
        if not rest and size % outer == 0 and size // outer * prod(after[axis + 1 :]) == behind:
            yield Place(axis, outer, size // outer)


def grown(shape: Shape, axis: int) -> Shape:
    """The shape for `MANY` items where it was for one."""
    return (*shape[:axis], shape[axis] * MANY, *shape[axis + 1 :])


def placed(inputs: Inputs) -> list[Traced]:
    """The inputs that have a batch."""
    return [tensor for tensor in inputs if tensor and tensor.place]


@dataclass(frozen=True)
class Tracer:
    """Follows shapes and short values through one node after the other, in the given versions of the operators."""

    opsets: Sequence[onnx.OperatorSetIdProto]

    def opset(self, domain: str = "") -> int:
        versions = [entry.version for entry in self.opsets if entry.domain in (domain, domain or "ai.onnx")]
        if not versions:
            raise Untraceable(f"it is of the domain {domain}, which is not imported")
        return int(max(versions))

    def follow(self, node: onnx.NodeProto, inputs: Inputs) -> list[Traced]:
        """The node's outputs.

        Raises:
            Untraceable: the inputs do not fit together for a larger batch, or the batch gets lost.
        """
        ones = self.infer(node, inputs, many=False)
        is_constant = not any(tensor and _depends(tensor) for tensor in inputs)
        manies = ones if is_constant else self.infer(node, inputs, many=True)
        if node.op_type not in _LOOKS and placed(inputs) and ones == manies:
            raise Untraceable("the batch gets lost")
        found = [
            Traced(elem_type, one, many, find_place(one, many, inputs), counts=_counts(node, inputs))
            for (elem_type, one), (_, many) in zip(ones, manies, strict=True)
        ]
        return self._with_values(node, inputs, found)

    def infer(self, node: onnx.NodeProto, inputs: Inputs, *, many: bool) -> list[tuple[int, Shape]]:
        """Element type and shape of each output, for a batch of one or of many.

        Raises:
            Untraceable: the inputs do not fit together, or a shape depends on their content.
        """
        known = dict(zip(node.input, inputs, strict=True))
        types = {
            name: helper.make_tensor_type_proto(tensor.elem_type, tensor.many if many else tensor.one)
            for name, tensor in known.items()
            if tensor
        }
        values = {
            name: numpy_helper.from_array(value)
            for name, tensor in known.items()
            if tensor and (value := tensor.value_many if many else tensor.value_one) is not None
        }
        try:
            schema = defs.get_schema(node.op_type, self.opset(node.domain), node.domain)
            found = shape_inference.infer_node_outputs(
                schema, node, types, values, opset_imports=list(self.opsets), ir_version=8
            )
        except (defs.SchemaError, shape_inference.InferenceError) as error:
            raise Untraceable(str(error).splitlines()[0]) from error
        return [_known_shape(name, found.get(name)) for name in node.output if name]

    def _with_values(self, node: onnx.NodeProto, inputs: Inputs, outputs: list[Traced]) -> list[Traced]:
        ones = self._evaluate(node, inputs, [tensor.one for tensor in outputs], many=False)
        manies = self._evaluate(node, inputs, [tensor.many for tensor in outputs], many=True)
        return [_with_value(*found) for found in zip(outputs, ones, manies, strict=True)]

    def _evaluate(
        self, node: onnx.NodeProto, inputs: Inputs, shapes: Sequence[Shape], *, many: bool
    ) -> Sequence[Array | None]:
        unknown = [None] * len(shapes)
        if any(prod(shape) > MAX_VALUES for shape in shapes):
            return unknown
        if node.op_type == "Shape":
            assert inputs[0]
            return [_measure(node, inputs[0].many if many else inputs[0].one)]
        values = [(tensor.value_many if many else tensor.value_one) if tensor else None for tensor in inputs]
        if any(value is None for value, tensor in zip(values, inputs, strict=True) if tensor):
            return unknown
        return _run(node, values, self.opsets) or unknown


def find_place(one: Shape, many: Shape, inputs: Inputs) -> Place | None:
    """Where the batch lies in a tensor of these shapes, which was computed from the inputs axis by axis.

    Raises:
        Untraceable: it is in several axes, or in one that grows by something else.
    """
    if one == many:
        return None
    axes = [axis for axis, sizes in enumerate(zip(one, many, strict=False)) if sizes[0] != sizes[1]]
    if len(one) != len(many) or len(axes) != 1 or many[axes[0]] != one[axes[0]] * MANY:
        raise Untraceable(f"its shape {list(one)} would become {list(many)} for {MANY} items")
    size = one[axes[0]]
    orders = {(tensor.place.outer, tensor.place.inner) for tensor in placed(inputs) if tensor.place}
    fitting = {order for order in orders if order[0] * order[1] == size} if orders else {(1, size)}
    if len(fitting) != 1:
        raise Untraceable("its inputs hold the batch in an order that does not fit")
    return Place(axes[0], *fitting.pop())


def _depends(tensor: Traced) -> bool:
    return tensor.place is not None or tensor.value_one is not tensor.value_many


def _counts(node: onnx.NodeProto, inputs: Inputs) -> bool:
    if node.op_type in ("ConstantOfShape", "Shape", "Size"):
        return False
    contents = inputs[:1] if node.op_type in _SHAPED else inputs
    return any(tensor.counts for tensor in contents if tensor)


def _with_value(tensor: Traced, one: Array | None, many: Array | None) -> Traced:
    if one is None and many is None:
        return tensor
    if one is not None and many is not None and np.array_equal(one, many):
        return replace(tensor, value_one=one, value_many=one, counts=False)
    return replace(tensor, value_one=one, value_many=many, counts=True)


def _known_shape(name: str, found: onnx.TypeProto | None) -> tuple[int, Shape]:
    if found is None or not found.tensor_type.HasField("shape"):
        raise Untraceable(f"the shape of {name} depends on its content")
    dims = found.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        raise Untraceable(f"the shape of {name} depends on its content")
    return found.tensor_type.elem_type, tuple(dim.dim_value for dim in dims)


def _measure(node: onnx.NodeProto, shape: Shape) -> Array:
    options = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape[options.get("start", 0) : options.get("end", len(shape))], np.int64)


def _run(
    node: onnx.NodeProto, values: Sequence[Array | None], opsets: Sequence[onnx.OperatorSetIdProto]
) -> list[Array] | None:
    """What the node computes; None where the reference implementation does not know it."""
    feeds = {name: value for name, value in zip(node.input, values, strict=True) if name}
    graph = helper.make_graph(
        [node],
        "one node",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=list(opsets), ir_version=8)
    try:
        return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, feeds)]
    except Exception:  # whatever an operator of the reference implementation raises
        return None
