"""How each operator is changed so that it takes a batch, where it was exported for one item.

A rule yields every way that fits the shapes, the likeliest first; what turns out wrong further down is taken back.
Three examples, for n items in the place of one:

    Reshape of (49, 1, 768) by the constant [49, 12, 64]   the constant becomes [49, -1, 64]: 12 heads of each item
    Concat of a class token (1, 1, 768) and (1, 49, 768)   the token is repeated: Tile by [n, 1, 1]
    Gather of (77, 768) at the index [12] of a text's end  item i has the index raised by 77 * i, of (77 * n, 768)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
from onnx import AttributeProto

from adapter.preparation.graphs.batching.builder import Choice, NodeBuilder
from adapter.preparation.graphs.batching.trace import (
    Inputs,
    Place,
    Shape,
    Traced,
    Tracer,
    Untraceable,
    grown,
    placed,
    places_after_reshape,
    weight,
)


def choices(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """Every way in which the node may be written for a batch.

    Raises:
        Untraceable: why there is none, or none left.
    """
    if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
        raise Untraceable("it holds a graph of its own")
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        yield Choice([node], [weight(node.attribute[0].t)])
        return
    has_rule = placed(inputs) and node.domain in ("", "ai.onnx")
    rule = _RULES.get(node.op_type, _as_is) if has_rule else _as_is
    yield from rule(node, inputs, tracer)


def _as_is(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    yield Choice([node], tracer.follow(node, inputs))


def _reshape(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """A constant shape becomes -1 where the batch is."""
    data, target = inputs
    assert data and data.place and target
    ((elem_type, after),) = tracer.infer(node, inputs, many=False)
    kept = _shape_as_is(node, inputs, tracer)
    places = list(places_after_reshape(data.one, data.place, after))
    places.sort(key=partial(_strangeness, before=data.place.axis))
    for place in places:
        traced = Traced(elem_type, after, grown(after, place.axis), place, counts=data.counts)
        if traced.many == kept:
            yield Choice([node], [traced])
        elif target.value_one is not None and target.value_one is target.value_many:
            builder = NodeBuilder(node)
            builder.node.input[1] = builder.integers(
                [-1 if a == place.axis else size for a, size in enumerate(after)]
            )
            yield builder.choice([traced])
    if not places:
        raise Untraceable("no axis of its shape can hold the batch")


def _strangeness(place: Place, before: int) -> tuple[bool, bool]:
    """Exporters mostly give the batch an axis of its own, and leave it where it is."""
    return not place.is_pure, place.axis != before


def _shape_as_is(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Shape | None:
    try:
        return tracer.infer(node, inputs, many=True)[0][1]
    except Untraceable:
        return None


def _flatten(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    (data,) = inputs
    assert data and data.place
    ((elem_type, after),) = tracer.infer(node, inputs, many=False)
    ((_, many),) = tracer.infer(node, inputs, many=True)
    for place in places_after_reshape(data.one, data.place, after):
        if grown(after, place.axis) == many:
            yield Choice([node], [Traced(elem_type, after, many, place, counts=data.counts)])


def _expand(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """A constant shape becomes 1 where the batch is, which leaves it as it is."""
    data, target = inputs
    assert data and data.place and target
    builder = NodeBuilder(node)
    if target.value_one is not None and target.value_one is target.value_many:
        shape = target.value_one.copy()
        axis = data.place.axis - len(data.one) + len(shape)
        if axis >= 0 and shape[axis] == data.one[data.place.axis]:
            shape[axis] = 1
            builder.node.input[1] = builder.integers(shape)
            target = replace(target, value_one=shape, value_many=shape)
    yield builder.choice(tracer.follow(builder.node, [data, target]))


def _resize(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """Constant sizes take the batch's."""
    data, sizes = inputs[0], inputs[3] if len(inputs) > 3 else None
    assert data and data.place
    builder, axis = NodeBuilder(node), data.place.axis
    has_axes = any(attribute.name == "axes" for attribute in node.attribute)
    if sizes and sizes.value_one is not None and sizes.value_one is sizes.value_many and not has_axes:
        shape = [int(size) for size in sizes.value_one]
        builder.node.input[3] = builder.sizes(shape, axis)
        inputs = [*inputs[:3], replace(sizes, value_many=np.array(grown(tuple(shape), axis), np.int64))]
    yield builder.choice(tracer.follow(builder.node, inputs))


def _join(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """What is the same for every item, such as a class token, is repeated: all need the same sizes."""
    model = placed(inputs)[0]
    assert model.place
    if _axis(node, 0) % len(model.one) == model.place.axis:
        raise Untraceable("it works along the batch")
    builder = NodeBuilder(node)
    inputs = [
        tensor if tensor is None or tensor.place else builder.repeat(index, tensor, model.place)
        for index, tensor in enumerate(inputs)
    ]
    yield builder.choice(tracer.follow(builder.node, inputs))


def _broadcast(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """What is the same for every item is repeated where it has as many rows as an item has, such as heads."""
    model = placed(inputs)[0]
    assert model.place
    size, from_end = model.one[model.place.axis], model.place.axis - len(model.one)
    builder, fitted = NodeBuilder(node), list(inputs)
    is_matrix_axis = node.op_type == "MatMul" and from_end >= -2
    for index, tensor in enumerate(inputs):
        if tensor and not tensor.place and size > 1 and not is_matrix_axis:
            axis = from_end + len(tensor.one)
            if axis >= 0 and tensor.one[axis] == size:
                fitted[index] = builder.repeat(index, tensor, replace(model.place, axis=axis))
    yield builder.choice(tracer.follow(builder.node, fitted))


def _gather(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """Indices into the only item become indices into the row's own item."""
    data, indices = inputs
    assert data and indices
    axis = _axis(node, 0) % len(data.one)
    if not data.place or data.place.axis != axis or indices.counts:
        yield from _as_is(node, inputs, tracer)
    else:
        yield from _own_rows(node, data, indices, [data.place.inner], range(len(indices.one)), tracer)


def _gather_nd(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """As `_gather`, where an index has several numbers."""
    data, indices = inputs
    assert data and indices
    has_batch_dims = any(attribute.name == "batch_dims" and attribute.i for attribute in node.attribute)
    length = indices.one[-1]
    if not data.place or data.place.axis >= length or indices.counts or has_batch_dims:
        yield from _as_is(node, inputs, tracer)
    else:
        steps = [data.place.inner if axis == data.place.axis else 0 for axis in range(length)]
        yield from _own_rows(node, data, indices, steps, range(len(indices.one) - 1), tracer)


def _own_rows(
    node: onnx.NodeProto, data: Traced, indices: Traced, steps: Sequence[int], axes: range, tracer: Tracer
) -> Iterator[Choice]:
    """The batch of the indices is along one of `axes`; those that are the same for every item are repeated."""
    if not data.place or data.place.outer != 1 or (indices.place and not indices.place.is_pure):
        raise Untraceable("its indices cannot be told apart by item")
    places = [indices.place] if indices.place else [Place(axis) for axis in axes if indices.one[axis] == 1]
    for place in places:
        builder = NodeBuilder(node)
        own = indices if indices.place else builder.repeat(1, indices, place)
        yield builder.choice(tracer.follow(builder.node, [data, builder.offset(1, own, steps)]))
    if not places:
        raise Untraceable("it takes some items of the batch")


def _normalise(node: onnx.NodeProto, inputs: Inputs, tracer: Tracer) -> Iterator[Choice]:
    """Left as it is, unless it would mix the items."""
    (data, *_), is_old = inputs, tracer.opset() < 13
    assert data and data.place
    spans = node.op_type == "LayerNormalization" or is_old
    first = _axis(node, 1 if is_old else -1) % len(data.one)
    if data.place.axis == first or (spans and data.place.axis > first):
        raise Untraceable("it works along the batch")
    yield from _as_is(node, inputs, tracer)


def _axis(node: onnx.NodeProto, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), default)


_ALIGNED = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Mean", "Sum", "PRelu", "Where", "MatMul"),
    *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"),
)

_RULES: dict[str, Callable[[onnx.NodeProto, Inputs, Tracer], Iterator[Choice]]] = {
    "Concat": _join,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _join,
    "GatherND": _gather_nd,
    "LayerNormalization": _normalise,
    "LogSoftmax": _normalise,
    "Reshape": _reshape,
    "Resize": _resize,
    "Softmax": _normalise,
    **dict.fromkeys(_ALIGNED, _broadcast),
}
