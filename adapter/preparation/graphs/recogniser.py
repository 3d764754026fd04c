"""The recogniser's graph with the choice of the likeliest class moved into it.

A step of a line has a probability for each of 18,000 characters, of which the greedy reading needs the largest: left
in the graph, a group of lines is a few kilobytes between Triton's processes instead of a hundred megabytes.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from adapter.preparation.graphs.file import RewriteError, opset_of, read, write
from adapter.preparation.graphs.proof import Answer, ProofFailed, run_each
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from transforms.ocr_recognition import LINE_HEIGHT_PX

CLASSES = "classes"
CERTAINTIES = "certainties"
SAMPLE_WIDTH = 320
_REDUCE_MAX_TAKES_AXES_AS_INPUT = 18


def write_recognizer(source: Path, target: Path) -> tuple[str, int]:
    """Writes the graph of a recogniser, and proves it.

    Its input is float32 (n, 3, 48, width); its outputs become `classes`, int64 (n, steps), and `certainties`,
    float32 (n, steps): the likeliest class of each step, and its probability.

    Returns:
        The input's name, and the number of classes.

    Raises:
        RewriteError, ProofFailed: it is no recogniser that reads groups of lines, or the choice is not the same.
    """
    samples = [line[np.newaxis] for line in _lines()]
    (entry,) = {value.name for value in read(source).graph.input} - _weights(source)
    graph = rewrite(source, target, Recipe([{entry: line[0]} for line in samples]))
    if not graph.batchable or len(graph.outputs) != 1:
        raise RewriteError(f"the recogniser reads no groups of lines: {graph.why_not or graph.outputs}")
    output = graph.outputs[0].name
    expected = [answer[output] for answer in run_each(target, [{entry: line[0]} for line in samples])]
    write(choose_likeliest(read(target), output), target, source)
    _compare(expected, run_each(target, [{entry: line[0]} for line in samples]))
    return entry, expected[0].shape[2]


def choose_likeliest(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Replaces the output (n, steps, classes) by the likeliest class of each step and its probability."""
    graph = model.graph
    graph.node.append(helper.make_node("ArgMax", [output], [CLASSES], axis=2, keepdims=0))
    if opset_of(model) < _REDUCE_MAX_TAKES_AXES_AS_INPUT:
        graph.node.append(helper.make_node("ReduceMax", [output], [CERTAINTIES], axes=[2], keepdims=0))
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "certainties/axes"))
        graph.node.append(
            helper.make_node("ReduceMax", [output, "certainties/axes"], [CERTAINTIES], keepdims=0)
        )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(CLASSES, TensorProto.INT64, ["batch", "steps"]))
    graph.output.append(helper.make_tensor_value_info(CERTAINTIES, TensorProto.FLOAT, ["batch", "steps"]))
    return model


def _compare(expected: list[NDArray[np.float32]], found: list[Answer]) -> None:
    for probabilities, answer in zip(expected, found, strict=True):
        if not np.array_equal(probabilities.argmax(2), answer[CLASSES]):
            raise ProofFailed("the likeliest classes differ from the source's")
        if not np.array_equal(probabilities.max(2), answer[CERTAINTIES]):
            raise ProofFailed("the likeliest classes' probabilities differ from the source's")


def _weights(source: Path) -> set[str]:
    return {tensor.name for tensor in read(source).graph.initializer}


def _lines() -> list[NDArray[np.float32]]:
    """Rows of dark strokes on a light ground, float32 (3, 48, 320), -1 to 1."""
    lines = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        strokes = rng.random((LINE_HEIGHT_PX // 6, SAMPLE_WIDTH // 4)) < 0.35
        ink = strokes.repeat(6, 0).repeat(4, 1)
        lines.append(np.broadcast_to(np.where(ink, -0.9, 0.8), (3, *ink.shape)).astype(np.float32))
    return lines
