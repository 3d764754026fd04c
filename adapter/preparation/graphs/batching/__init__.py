"""Graphs that were exported for one item at a time, made to take a batch.

Each node is rewritten by a rule, which may offer several ways; a search finds those that fit together. An example: a
`Reshape` makes (1, 1, 768) of (1, 768). The batch may then be axis 0 or axis 1, and axis 0 is tried first. Two nodes
further on a `Concat` along axis 0 would join the items of the batch. So the search goes back to the `Reshape`, takes
axis 1, and goes on from there.
"""

from collections.abc import Iterator, Sequence
from math import prod

import onnx
from onnx import helper, inliner

from adapter.preparation.graphs.batching.builder import COUNT, ROWS, Choice
from adapter.preparation.graphs.batching.rules import choices
from adapter.preparation.graphs.batching.trace import Place, Shape, Traced, Tracer, Untraceable, grown, weight
from adapter.preparation.graphs.file import RewriteError, inputs_of
from adapter.preparation.graphs.nodes import constant, rename_input, replace_nodes

BATCH = "batch"
"""What the variable axis is called in the graph."""

PATIENCE = 8
"""Steps for each node before the search is given up; a graph that leaves no doubt takes one."""

Known = dict[str, Traced]


def make_batch_dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gives a graph a batch axis: axis 0 of every input and output, named `batch`.

    A graph that has it already stays as it is, but for declared names. The caller proves the result.

    Args:
        model: a graph whose inputs have a batch of 1, or a variable one. It may be changed.

    Raises:
        RewriteError: the batch cannot be followed through the graph; the message names the node.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    is_fixed = any(_shape(value)[:1] != (0,) for value in inputs_of(model))
    try:
        _rewrite(model)
    except RewriteError:
        if is_fixed:
            raise
    del model.graph.value_info[:]
    for value in [*inputs_of(model), *model.graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    return model


def pin_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fixes the batch of every input to 1."""
    for value in inputs_of(model):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    return model


def _rewrite(model: onnx.ModelProto) -> None:
    known = _known_at_first(model)
    nodes = [node for choice in _search(model, known) for node in choice.nodes]
    same = [value.name for value in model.graph.output if not known[value.name].place]
    if same:
        raise RewriteError(f"the outputs {same} are the same whatever goes in")
    for value in model.graph.output:
        nodes += _lead_with_batch(value, known[value.name], nodes)
    replace_nodes(model.graph, [*_count_rows(model, nodes), *nodes])


def _known_at_first(model: onnx.ModelProto) -> Known:
    """The weights, which have no batch, and the inputs, which have one."""
    known = {tensor.name: weight(tensor) for tensor in model.graph.initializer}
    for value in inputs_of(model):
        batch, *sizes = _shape(value) or (0, 0)
        if batch > 1 or not all(sizes):
            raise RewriteError(f"{value.name} has other variable sizes than the batch, or a batch of {batch}")
        shape = (1, *sizes)
        known[value.name] = Traced(value.type.tensor_type.elem_type, shape, grown(shape, 0), Place(0))
    return known


def _search(model: onnx.ModelProto, known: Known) -> list[Choice]:
    """One choice for each node, so that all fit. A dead end leads back to the last node that has another."""
    nodes, tracer = list(model.graph.node), Tracer(model.opset_import)
    open_ends: list[Iterator[Choice]] = []
    chosen: list[Choice] = []
    furthest, trouble = -1, ""
    for _ in range(PATIENCE * len(nodes)):
        if len(chosen) == len(nodes):
            return chosen
        node = nodes[len(chosen)]
        if len(open_ends) == len(chosen):
            open_ends.append(_choices(node, known, tracer))
        try:
            choice = next(open_ends[-1])
        except (StopIteration, Untraceable) as error:
            if len(chosen) > furthest:
                furthest, trouble = len(chosen), f"{node.op_type} {node.name or node.output[0]}: {error}"
            open_ends.pop()
            if not chosen:
                break
            chosen.pop()
        else:
            chosen.append(choice)
            known.update(zip(filter(None, node.output), choice.outputs, strict=True))
    raise RewriteError(f"no batch passes {trouble}")


def _choices(node: onnx.NodeProto, known: Known, tracer: Tracer) -> Iterator[Choice]:
    missing = [name for name in node.input if name and name not in known]
    if missing:
        raise Untraceable(f"nothing is known of {missing}")
    yield from choices(node, [known[name] if name else None for name in node.input], tracer)


def _lead_with_batch(
    value: onnx.ValueInfoProto, traced: Traced, nodes: Sequence[onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """Declares the shape of an output, and adds nodes that bring its batch to axis 0 where it lies elsewhere."""
    assert traced.place
    item = traced.one[1:] if traced.one[0] == 1 else traced.one
    value.type.CopyFrom(helper.make_tensor_type_proto(traced.elem_type, [BATCH, *item]))
    if traced.place == Place(0):
        return []
    _rename(value.name, f"batch/{value.name}/scattered", nodes)
    ahead = prod(traced.one[: traced.place.axis]) * traced.place.outer
    return _gathering_nodes(value.name, ahead, prod(traced.one) // ahead, item)


def _gathering_nodes(name: str, ahead: int, behind: int, item: Shape) -> list[onnx.NodeProto]:
    """From `batch/<name>/scattered`, which is (ahead, batch, behind), to `name`, which is (batch, *item)."""
    prefix = f"batch/{name}"
    return [
        constant(f"{prefix}/scattered_shape", [ahead, -1, behind]),
        helper.make_node(
            "Reshape", [f"{prefix}/scattered", f"{prefix}/scattered_shape"], [f"{prefix}/split"]
        ),
        helper.make_node("Transpose", [f"{prefix}/split"], [f"{prefix}/gathered"], perm=[1, 0, 2]),
        constant(f"{prefix}/shape", [-1, *item]),
        helper.make_node("Reshape", [f"{prefix}/gathered", f"{prefix}/shape"], [name]),
    ]


def _rename(old: str, new: str, nodes: Sequence[onnx.NodeProto]) -> None:
    rename_input(nodes, old, new)
    for node in nodes:
        node.output[:] = [new if name == old else name for name in node.output]


def _count_rows(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The tensors `COUNT` and `ROWS`, where a node takes them."""
    taken = {name for node in nodes for name in node.input}
    if not taken & {COUNT, ROWS}:
        return []
    return [
        helper.make_node("Shape", [inputs_of(model)[0].name], ["batch/shape"]),
        constant("batch/zeros", [0]),
        helper.make_node("Gather", ["batch/shape", "batch/zeros"], [COUNT]),
        *(_number_rows() if ROWS in taken else []),
    ]


def _number_rows() -> list[onnx.NodeProto]:
    return [
        constant("batch/zero", 0),
        constant("batch/step", 1),
        helper.make_node("Gather", ["batch/shape", "batch/zero"], ["batch/end"]),
        helper.make_node("Range", ["batch/zero", "batch/end", "batch/step"], [ROWS]),
    ]


def _shape(value: onnx.ValueInfoProto) -> Shape:
    """Its declared sizes, 0 where they are variable."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
