"""The proof: it lets through what says the same, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from adapter.preparation.config import Tensor
from adapter.preparation.graphs.proof import (
    SINGLE_TOLERANCE,
    Interface,
    ProofFailed,
    Sample,
    Session,
    difference,
    prove,
)
from tests.support.graphs import FLOAT, Graph, save

Change = Callable[[Graph, str], str]
"""Adds nodes after the network's answer, which is (n, 4)."""


def items(count: int = 3, width: int = 6) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=width).astype(np.float32)} for _ in range(count)]


def network(change: Change | None = None, batch: int | str = "batch") -> onnx.ModelProto:
    g = Graph()
    answer = g.op("Tanh", g.linear(g.input("x", [batch, 6]), 6, 4))
    g.op("Identity", change(g, answer) if change else answer, output="y")
    g.output("y", [batch, 4])
    return g.model()


def times(factor: float) -> Change:
    return lambda g, y: g.op("Mul", y, g.constant(np.array(factor, np.float32)))


def mixed(g: Graph, y: str) -> str:
    """Every row less the batch's mean, and the single row as it was."""
    mean = g.op("ReduceMean", y, axes=[0], keepdims=1)
    rows = g.op("Cast", g.op("Gather", g.op("Shape", y), g.integers(0)), to=FLOAT)
    others = g.op("Sub", rows, g.constant(np.array(1, np.float32)))
    return g.op("Sub", y, g.op("Mul", mean, others))


def first_row(g: Graph, y: str) -> str:
    """The first row for all."""
    return g.op("Expand", g.op("Gather", y, g.integers(0), axis=0), g.op("Shape", y))


def prove_against_plain(tmp_path: Path, rewritten: onnx.ModelProto, *, batched: bool = True) -> Interface:
    expected = Session(save(network(), tmp_path / "source.onnx")).alone(items())
    return prove(save(rewritten, tmp_path / "rewritten.onnx"), items(), expected, batched=batched)


def test_the_same_graph_is_proven_and_its_interface_told(tmp_path: Path) -> None:
    assert prove_against_plain(tmp_path, network()) == Interface(
        (Tensor("x", "FP32", (6,)),), (Tensor("y", "FP32", (4,)),)
    )


def test_a_graph_for_single_items_keeps_its_batch_axis_in_the_interface(tmp_path: Path) -> None:
    interface = prove_against_plain(tmp_path, network(batch=1), batched=False)
    assert interface == Interface((Tensor("x", "FP32", (1, 6)),), (Tensor("y", "FP32", (1, 4)),))


def test_a_difference_is_named_and_measured(tmp_path: Path) -> None:
    with pytest.raises(ProofFailed, match=r"y is off by 1\.0e-03, allowed are 1e-05, alone"):
        prove_against_plain(tmp_path, network(times(1.001)))


def test_roundings_are_allowed(tmp_path: Path) -> None:
    prove_against_plain(tmp_path, network(times(1 + SINGLE_TOLERANCE / 2)))


@pytest.mark.parametrize("mix", [mixed, first_row])
def test_rows_that_take_from_others_are_found(tmp_path: Path, mix: Change) -> None:
    assert prove_against_plain(tmp_path, network(mix), batched=False)
    with pytest.raises(ProofFailed, match=r"y is off by .* in a batch of 3"):
        prove_against_plain(tmp_path, network(mix))


def test_what_is_not_finite_fails(tmp_path: Path) -> None:
    broken = save(network(times(np.inf)), tmp_path / "broken.onnx")
    with pytest.raises(ProofFailed, match="y is not finite, alone"):
        prove(broken, items(), Session(broken).alone(items()), batched=False)


def test_samples_with_the_same_answer_prove_nothing_of_a_batch(tmp_path: Path) -> None:
    constant = save(network(times(0)), tmp_path / "constant.onnx")
    expected = Session(constant).alone(items())
    assert prove(constant, items(), expected, batched=False)
    with pytest.raises(ProofFailed, match="y is the same for different samples"):
        prove(constant, items(), expected, batched=True)


def test_an_output_of_another_shape_fails(tmp_path: Path) -> None:
    wide = network(lambda g, y: g.op("Concat", y, y, axis=1))
    wide.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    with pytest.raises(ProofFailed, match=r"y has shape \(1, 8\), not \(1, 4\)"):
        prove_against_plain(tmp_path, wide)


def test_an_output_that_only_gained_the_batch_axis_is_the_same(tmp_path: Path) -> None:
    def flat(batch: int | str, *shape: int) -> onnx.ModelProto:
        g = Graph()
        g.op("Reshape", g.linear(g.input("x", [batch, 6]), 6, 4), g.integers(*shape), output="y")
        g.output("y", [batch, 4] if shape[0] < 0 else [4])
        return g.model()

    expected = Session(save(flat(1, 4), tmp_path / "source.onnx")).alone(items())
    interface = prove(
        save(flat("batch", -1, 4), tmp_path / "rewritten.onnx"), items(), expected, batched=True
    )
    assert interface.outputs == (Tensor("y", "FP32", (4,)),)


def test_an_output_without_a_row_for_each_item_fails(tmp_path: Path) -> None:
    g = Graph()
    g.op("ReduceMean", g.linear(g.input("x", ["batch", 6]), 6, 4), axes=[0], keepdims=1, output="y")
    g.output("y", [1, 4])
    path = save(g.model(), tmp_path / "mean.onnx")
    with pytest.raises(ProofFailed, match=r"y has shape \(1, 4\) for a batch of 3"):
        prove(path, items(), Session(path).alone(items()), batched=True)


def test_sizes_that_vary_with_the_input_are_told_as_variable(tmp_path: Path) -> None:
    g = Graph()
    g.op("Tanh", g.input("x", ["batch", 3, "width"]), output="y")
    g.output("y", ["batch", 3, "width"])
    path = save(g.model(), tmp_path / "wide.onnx")
    samples = [{"x": np.random.default_rng(seed).normal(size=(3, 5)).astype(np.float32)} for seed in range(3)]
    interface = prove(path, samples, Session(path).alone(samples), batched=True)
    assert interface.outputs == (Tensor("y", "FP32", (3, -1)),)


def test_a_graph_that_cannot_be_loaded_or_run_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ProofFailed, match=r"cannot load .*empty\.onnx"):
        Session(tmp_path / "empty.onnx").alone(items())
    with pytest.raises(ProofFailed, match="cannot run a batch of 1"):
        Session(save(network(), tmp_path / "narrow.onnx")).alone(items(width=7))


def test_the_difference_is_relative_to_the_largest_magnitude() -> None:
    assert difference(np.array([0.0, -10.0]), np.array([1.0, -10.0])) == pytest.approx(0.1)
    assert difference(np.zeros(2), np.zeros(2)) == 0
    assert difference(np.zeros(0), np.zeros(0)) == 0
    assert difference(np.zeros(2), np.ones(2)) == np.inf
