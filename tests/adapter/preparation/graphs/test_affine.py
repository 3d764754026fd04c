"""Factors and shifts between convolutions become normalisations, and the answers stay."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from adapter.preparation.graphs.affine import normalise_channels
from tests.support.graphs import Graph


def number(g: Graph, value: float, *shape: int) -> str:
    return g.initializer(np.full(shape or (1,), value, np.float32))


def scaled(g: Graph, tensor: str, factor: str, shift: str, output: str = "") -> str:
    """Written as PP-OCR's exporter does: with nodes between that do nothing, and the number on either side."""
    product = g.op("Identity", g.op("Mul", factor, tensor))
    return g.op("Add", product, shift, output=output)


def network(*, reads_twice: bool = False, by_channel: bool = False, opset: int = 17) -> onnx.ModelProto:
    """Two convolutions with a factor and a shift after the first, and others before the second, which pads."""
    g = Graph(opset)
    first = g.op("Conv", g.input("x", ["n", 3, "h", "w"]), g.weight(4, 3, 1, 1))
    factor = g.weight(1, 4, 1, 1) if by_channel else number(g, 1.25)
    before = scaled(g, first, factor, number(g, -0.5, 1, 1, 1))
    product = g.op("Mul", g.op("Relu", before), number(g, 0.75))
    after = g.op("Add", number(g, 2.0), product)
    joined = g.op("Add", after, product) if reads_twice else after
    g.op("Conv", joined, g.weight(5, 4, 3, 3), pads=[1, 1, 1, 1], output="y")
    g.output("y", ["n", 5, "h", "w"])
    return g.model()


def run(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).normal(size=(2, 3, 9, 11)).astype(np.float32)
    return np.asarray(session.run(None, {"x": pixels})[0])


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (network, 2),
        (lambda: network(opset=11), 2),
        (lambda: network(reads_twice=True), 1),  # its product is needed by itself
        (lambda: network(by_channel=True), 1),
        (lambda: network(opset=8), 0),
    ],
)
def test_each_pair_of_numbers_becomes_a_normalisation(
    make: Callable[[], onnx.ModelProto], count: int
) -> None:
    rewritten = normalise_channels(make())
    onnx.checker.check_model(rewritten, full_check=True)
    assert Counter(node.op_type for node in rewritten.graph.node)["BatchNormalization"] == count
    np.testing.assert_allclose(run(rewritten), run(make()), rtol=1e-5, atol=1e-5)


def test_a_graph_without_such_pairs_stays_as_it_is() -> None:
    g = Graph()
    vector = scaled(g, g.input("x", ["n", 3, 9, 11]), g.weight(1, 3, 1, 1), g.weight(1, 3, 1, 1))
    g.op("Identity", vector, output="y")
    g.output("y", ["n", 3, 9, 11])
    assert normalise_channels(g.model()) == g.model()
