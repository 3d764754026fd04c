"""Graphs exported for one item, run for three: each row as if it had been given alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from adapter.preparation.graphs.batching import make_batch_dynamic, pin_batch
from adapter.preparation.graphs.file import RewriteError, read
from adapter.preparation.graphs.pixels import Normalisation, fold_pixels
from adapter.preparation.graphs.proof import BATCH_TOLERANCE, difference
from tests.support.graphs import (
    Graph,
    detector,
    masked_text,
    pooled_by_latent,
    pooled_by_one_token,
    text_transformer,
    vision_transformer,
)

Feeds = Mapping[str, NDArray[Any]]

COUNT = 3

SMALL_GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    "picture tower with class token and tokens-first attention": vision_transformer,
    "text tower that picks from a flattened tensor": lambda: text_transformer("flattened"),
    "text tower that picks by coordinates": lambda: text_transformer("coordinates"),
    "masks and positions looked up by constant indices": masked_text,
    "pool with a query of one token": pooled_by_one_token,
    "pool with a query that is a weight": pooled_by_latent,
}


def run(model: onnx.ModelProto, feeds: Feeds) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[NDArray[Any]] = session.run(None, dict(feeds))
    return found


def random_feeds(model: onnx.ModelProto, count: int) -> dict[str, NDArray[Any]]:
    """Different items for each input, of the sizes that the graph declares."""
    rng = np.random.default_rng(1)
    feeds: dict[str, NDArray[Any]] = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = (count, *(dim.dim_value for dim in tensor.shape.dim[1:]))
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        top = 2 if "mask" in value.name else 50
        values = (
            rng.normal(size=shape) if tensor.elem_type == TensorProto.FLOAT else rng.integers(0, top, shape)
        )
        feeds[value.name] = values.astype(dtype)
    return feeds


def assert_rows_are_items(source: onnx.ModelProto, rewritten: onnx.ModelProto) -> None:
    feeds = random_feeds(source, COUNT)
    together = run(rewritten, feeds)
    alone = [
        run(source, {name: array[row : row + 1] for name, array in feeds.items()}) for row in range(COUNT)
    ]
    assert together
    for output, *rows in zip(together, *alone, strict=True):
        assert len(output) == COUNT
        assert difference(rows[0], rows[1]) > 10 * BATCH_TOLERANCE  # else mixed rows would not be seen
        for row, expected in zip(output, rows, strict=True):
            assert difference(expected.reshape(row.shape), row) <= BATCH_TOLERANCE


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("build", SMALL_GRAPHS.values(), ids=SMALL_GRAPHS)
def test_a_graph_exported_for_one_item_takes_three(build: Callable[[], onnx.ModelProto]) -> None:
    rewritten = make_batch_dynamic(build())
    assert_rows_are_items(build(), rewritten)
    for value in [*rewritten.graph.input, *rewritten.graph.output]:
        assert dims(value)[0] == "batch"


def test_a_constant_size_that_holds_heads_is_not_taken_for_the_batchs() -> None:
    def build() -> onnx.ModelProto:
        g = Graph()
        heads = g.reshape(g.input("x", [1, 3, 4]), 3, 1, 4)
        wide = g.op("Expand", heads, g.integers(3, 2, 4))
        g.op("Reshape", wide, g.integers(1, 3, 8), output="y")
        g.output("y", [1, 3, 8])
        return g.model()

    assert_rows_are_items(build(), make_batch_dynamic(build()))


@pytest.mark.parametrize("perm", [(2, 3, 0, 1), (0, 2, 3, 1)])
@pytest.mark.parametrize("lead", [True, False])
@pytest.mark.parametrize("sizes", [True, False])
def test_a_detectors_heads_are_listed_by_picture(perm: tuple[int, ...], lead: bool, sizes: bool) -> None:
    source = detector(perm=perm, lead=lead, sizes=sizes)
    for axis in (2, 3):
        source.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 32
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(source)
    rewritten = make_batch_dynamic(rewritten)
    assert dims(rewritten.graph.output[0]) == ["batch", 512, 4]
    assert_rows_are_items(source, rewritten)


def test_a_batch_that_is_variable_already_leaves_the_nodes_as_they_are() -> None:
    g = Graph()
    x = g.input("x", ["N", 6])
    g.op("Reshape", g.linear(x, 6, 8), g.integers(-1, 2, 4), output="y")
    g.output("y", ["N", 2, 4])
    model = g.model()
    nodes = [node.SerializeToString() for node in model.graph.node]
    rewritten = make_batch_dynamic(model)
    assert [node.SerializeToString() for node in rewritten.graph.node] == nodes
    assert dims(rewritten.graph.input[0]) == ["batch", 6]
    assert dims(rewritten.graph.output[0]) == ["batch", 2, 4]


def test_a_batch_declared_variable_over_constants_of_one_is_mended() -> None:
    assert_rows_are_items(vision_transformer(), make_batch_dynamic(vision_transformer(batch="N")))


def test_functions_of_the_model_are_written_out() -> None:
    g = Graph()
    g.op("Reshape", g.input("x", [1, 6]), g.integers(1, 2, 3), output="y")
    g.output("y", [1, 2, 3])
    model = g.model()
    opsets = list(model.opset_import)
    double = onnx.helper.make_function(
        "own", "Double", ["a"], ["b"], [onnx.helper.make_node("Add", ["a", "a"], ["b"])], opsets
    )
    model.graph.node[-1].input[0] = "doubled"
    model.graph.node.insert(0, onnx.helper.make_node("Double", ["x"], ["doubled"], domain="own"))
    model.functions.append(double)
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    source = onnx.ModelProto()
    source.CopyFrom(model)
    assert_rows_are_items(source, make_batch_dynamic(model))


def graph_of(operator: str, *more: NDArray[Any], **attributes: Any) -> onnx.ModelProto:
    """One operator over x, which is (1, 4, 6)."""
    g = Graph()
    x = g.input("x", [1, 4, 6])
    g.op(operator, x, *(g.constant(array) for array in more), output="y", **attributes)
    g.output("y", [1, 4, 6])
    return g.model()


MIXING: dict[str, onnx.ModelProto] = {
    "a mean over the batch": graph_of("ReduceMean", axes=[0], keepdims=1),
    "a softmax over the batch": graph_of("Softmax", axis=0),
    "a norm over everything": graph_of("LayerNormalization", np.ones((1, 4, 6), np.float32), axis=0),
    "the batch joined to a constant": graph_of("Concat", np.ones((1, 4, 6), np.float32), axis=0),
    "the batch taken away": graph_of("Squeeze", np.array([0])),
    "all axes of size one taken away": graph_of("Squeeze"),
    "the first of the batch": graph_of("Slice", np.array([0]), np.array([1]), np.array([0])),
}


@pytest.mark.parametrize("model", MIXING.values(), ids=MIXING)
def test_what_mixes_or_loses_items_is_refused_by_the_nodes_name(model: onnx.ModelProto) -> None:
    operator = model.graph.node[-1].op_type
    with pytest.raises(RewriteError, match=f"no batch passes {operator} y"):
        make_batch_dynamic(model)


def same_output() -> onnx.ModelProto:
    g = Graph()
    g.op("Relu", g.input("x", [1, 4]), output="y")
    g.op("Relu", g.weight(4), output="z")
    g.output("y", [1, 4])
    g.output("z", [4])
    return g.model()


def batch_of_two() -> onnx.ModelProto:
    g = Graph()
    g.op("Relu", g.input("x", [2, 4]), output="y")
    g.output("y", [2, 4])
    return g.model()


def another_domain() -> onnx.ModelProto:
    model = graph_of("Relu")
    model.graph.node[-1].domain = "com.microsoft"
    return model


def graph_within() -> onnx.ModelProto:
    relu = onnx.helper.make_node("Relu", ["x"], ["inner"])
    inner = onnx.helper.make_graph([relu], "inner", [], [onnx.ValueInfoProto(name="inner")])
    g = Graph()
    g.input("x", [1, 4])
    g.op("If", g.constant(np.array(True)), then_branch=inner, else_branch=inner, output="y")
    g.output("y", [1, 4])
    return g.model()


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (same_output, r"outputs \['z'\] are the same whatever goes in"),
        (batch_of_two, "a batch of 2"),
        (another_domain, r"Relu y: .*com\.microsoft"),
        (graph_within, "a graph of its own"),
    ],
)
def test_what_cannot_be_followed_is_refused(build: Callable[[], onnx.ModelProto], reason: str) -> None:
    with pytest.raises(RewriteError, match=reason):
        make_batch_dynamic(build())


@pytest.mark.parametrize("part", ["visual", "textual"])
def test_a_real_tower_is_made_dynamic_again_after_its_batch_was_pinned(shared: Path, part: str) -> None:
    source = pin_batch(read(shared / f"models/clip/ViT-T-32__small/{part}/model.onnx"))
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(source)
    assert_rows_are_items(source, make_batch_dynamic(rewritten))


def test_the_real_detector_takes_several_pictures(shared: Path) -> None:
    path = shared / "models/facial-recognition/buffalo_s/detection/model.onnx"
    scrfd = Normalisation((127.5,) * 3, (128.0,) * 3, scale=None, size=(320, 320))
    source = read(path)
    del source.graph.output[:]
    source.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("443", "446", "449"))
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(source)
    assert_rows_are_items(fold_pixels(source, scrfd), make_batch_dynamic(fold_pixels(rewritten, scrfd)))
