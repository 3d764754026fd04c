"""Recognisers of every published form, prepared: the same steps, from uint8 lines with whatever behind them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.graphs.pixels import normalise
from adapter.preparation.graphs.proof import ProofFailed
from adapter.preparation.graphs.recogniser import write_recognizer
from adapter.preparation.triton_models.ocr import NORMALISATION
from tests.support.graphs import Graph

CLASSES, WIDTHS, RUN_WIDTH = 7, (40, 96, 64), 96


def reads_steps(g: Graph, lines: str) -> str:
    """Scores (n, width / 8, classes) of lines (n, 3, 48, width), in which neighbours look at each other."""
    columns = g.op("AveragePool", lines, kernel_shape=[48, 8], strides=[48, 8])
    features = g.op("Conv", columns, g.weight(8, 3, 1, 3), pads=[0, 1, 0, 1])
    steps = g.transpose(g.op("Squeeze", features, g.integers(2)), 0, 2, 1)
    return g.op("Mul", g.op("MatMul", steps, g.weight(8, CLASSES)), g.constant(np.array(20, np.float32)))


def older(output: str, opset: int = 17) -> onnx.ModelProto:
    """Normalised lines in; probabilities, or logits, of every class out."""
    g = Graph(opset)
    scores = reads_steps(g, g.input("x", ["n", 3, 48, "w"]))
    g.op("Identity" if output == "ctc_logits" else "Softmax", scores, output=output)
    g.output(output, ["n", "t", CLASSES])
    return g.model()


def newer() -> onnx.ModelProto:
    """uint8 lines in, the likeliest class and its probability out: int32 and float32."""
    g = Graph()
    lines = g.op("Cast", g.input("image", ["n", 48, "w", 3], TensorProto.UINT8), to=TensorProto.FLOAT)
    centred = g.op(
        "Div",
        g.op("Sub", lines, g.constant(np.array(127, np.float32))),
        g.constant(np.array(127, np.float32)),
    )
    scores = g.op("Softmax", reads_steps(g, g.transpose(centred, 0, 3, 1, 2)))
    chosen = g.op("ArgMax", scores, axis=2, keepdims=0)
    g.op("Cast", chosen, to=TensorProto.INT32, output="ctc_indices")
    g.op("ReduceMax", scores, axes=[2], keepdims=0, output="ctc_confidence")
    for name, kind in (("ctc_indices", TensorProto.INT32), ("ctc_confidence", TensorProto.FLOAT)):
        g.output(name, ["n", "t"], kind)
    return g.model()


def lines() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [
        np.kron(rng.integers(0, 256, (1, width // 8, 3)), np.ones((48, 8, 1))).astype(np.uint8)
        for width in WIDTHS
    ]


def session(model: onnx.ModelProto | Path) -> Any:
    source = model if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def read_by(model: onnx.ModelProto) -> list[list[NDArray[Any]]]:
    """What the source says of the lines, padded as the original does: by numpy, one by one."""
    found = []
    for line in lines():
        room = [(0, 0), (0, 0), (0, RUN_WIDTH - line.shape[1]), (0, 0)]
        if model.graph.input[0].name == "image":
            padded = np.pad(line[np.newaxis], room, constant_values=127)
            found.append([array[0] for array in session(model).run(None, {"image": padded})])
            continue
        padded = np.pad(normalise(line[np.newaxis], NORMALISATION), [room[0], room[3], room[1], room[2]])
        ((scores,),) = session(model).run(None, {"x": padded})
        if model.graph.output[0].name == "ctc_logits":
            scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        found.append([scores.argmax(axis=1), scores.max(axis=1)])
    return found


@pytest.mark.parametrize(
    "model",
    [older("fetch_name_0"), older("fetch_name_0", 18), older("ctc_logits"), older("ctc_logits", 18), newer()],
    ids=["probabilities", "probabilities, opset 18", "logits", "logits, opset 18", "read in the graph"],
)
def test_lines_of_several_pictures_are_read_as_each_alone(model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "source.onnx")
    classes = write_recognizer(tmp_path / "source.onnx", tmp_path / "model.onnx", NORMALISATION)
    assert classes == (CLASSES if len(model.graph.output) == 1 else None)
    batch = np.full((3, 48, RUN_WIDTH, 3), 77, np.uint8)  # what lies behind a line is not looked at
    for target, line in zip(batch, lines(), strict=True):
        target[:, : line.shape[1]] = line
    feed = {"pixels": batch, "widths": np.array(WIDTHS, np.int32)[:, np.newaxis]}
    found = session(tmp_path / "model.onnx").run(["classes", "certainties"], feed)
    for row, (chosen, certainties) in enumerate(read_by(model)):
        np.testing.assert_array_equal(found[0][row], chosen)
        np.testing.assert_allclose(found[1][row], certainties, rtol=1e-5)
    assert len(set(found[0].ravel().tolist())) > 2, "there is something to read"


def two_outputs() -> onnx.ModelProto:
    g = Graph()
    scores = reads_steps(g, g.input("x", ["n", 3, 48, "w"]))
    for name in ("a", "b"):
        g.op("Softmax", scores, output=name)
        g.output(name, ["n", "t", CLASSES])
    return g.model()


def blind() -> onnx.ModelProto:
    g = Graph()
    scores = reads_steps(g, g.input("x", ["n", 3, 48, "w"]))
    g.op("Mul", scores, g.constant(np.array(0, np.float32)), output="y")
    g.output("y", ["n", "t", CLASSES])
    return g.model()


@pytest.mark.parametrize(
    ("model", "error", "reason"),
    [(two_outputs(), RewriteError, "neither steps by classes"), (blind(), ProofFailed, "reads the same")],
)
def test_what_is_no_recogniser_is_refused(
    model: onnx.ModelProto, error: type[Exception], reason: str, tmp_path: Path
) -> None:
    onnx.save(model, tmp_path / "source.onnx")
    with pytest.raises(error, match=reason):
        write_recognizer(tmp_path / "source.onnx", tmp_path / "model.onnx", NORMALISATION)
