"""Normalisation in the graph gives the numbers that numpy gives, to the last bit."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.graphs.pixels import PIXELS, Normalisation, fold_pixels, normalise, takes_pixels
from tests.support.graphs import FLOAT, Dims, Graph

CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SCRFD = Normalisation((127.5,) * 3, (128.0,) * 3, scale=None)
ARCFACE = Normalisation((127.5,) * 3, (127.5,) * 3, scale=None)
OCR = Normalisation((0.5,) * 3, (0.5,) * 3, channels="bgr")
BGR = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), channels="bgr")


def network(dims: Dims, elem_type: int = FLOAT, name: str = "image", opset: int = 17) -> onnx.ModelProto:
    """Gives back what it is fed with."""
    g = Graph(opset)
    g.op("Identity", g.input(name, dims, elem_type), output="y")
    g.output("y", dims, elem_type)
    return g.model()


def every_byte() -> NDArray[np.uint8]:
    """(2, 16, 32, 3): each value in each channel, and no two channels alike."""
    values = np.arange(256, dtype=np.uint8)
    planes = np.stack([values, values[::-1], np.roll(values, 100)], -1).reshape(8, 32, 3)
    return np.stack([np.concatenate([planes, planes[::-1]]), np.concatenate([planes[::-1], planes])])


def run(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {PIXELS: pixels})[0]
    return found


def dims(model: onnx.ModelProto) -> list[int | str]:
    (value,) = model.graph.input
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("how", [CLIP, SCRFD, ARCFACE, OCR, BGR])
@pytest.mark.parametrize("opset", [11, 17])
def test_the_graph_normalises_as_numpy_does_bit_for_bit(how: Normalisation, opset: int) -> None:
    model = fold_pixels(network(["n", 3, "h", "w"], opset=opset), how)
    np.testing.assert_array_equal(run(model, every_byte()), normalise(every_byte(), how))


def test_a_float16_network_is_normalised_in_float32() -> None:
    model = fold_pixels(network(["n", 3, 16, 32], TensorProto.FLOAT16), CLIP)
    np.testing.assert_array_equal(run(model, every_byte()), normalise(every_byte(), CLIP).astype(np.float16))


def test_a_newer_export_is_only_renamed() -> None:
    source = network(["n", "h", "w", 3], TensorProto.UINT8)
    assert takes_pixels(source)
    model = fold_pixels(source, CLIP)
    assert [node.op_type for node in model.graph.node] == ["Identity", "Identity"]
    np.testing.assert_array_equal(run(model, every_byte()), every_byte())


def test_a_network_whose_input_is_called_pixels_already_is_no_exception() -> None:
    model = fold_pixels(network(["n", 3, "h", "w"], name=PIXELS), SCRFD)
    np.testing.assert_array_equal(run(model, every_byte()), normalise(every_byte(), SCRFD))
    newer = fold_pixels(network(["n", "h", "w", 3], TensorProto.UINT8, name=PIXELS), SCRFD)
    np.testing.assert_array_equal(run(newer, every_byte()), every_byte())


def test_an_old_graph_that_lists_its_weights_as_inputs_is_understood() -> None:
    g = Graph(9)
    g.op("Conv", g.input("data", [1, 3, 16, 32]), g.weight(4, 3, 1, 1), output="y")
    g.output("y", [1, 4, 16, 32])
    model = g.model(ir_version=3)
    model.graph.input.append(helper.make_tensor_value_info("w0", FLOAT, [4, 3, 1, 1]))
    folded = fold_pixels(model, SCRFD)
    assert [value.name for value in folded.graph.input] == [PIXELS, "w0"]
    assert run(folded, every_byte()[:1]).shape == (1, 4, 16, 32)


def test_sizes_are_the_graphs_own_or_pinned_or_variable() -> None:
    pinned = Normalisation((0.0,) * 3, (1.0,) * 3, size=(640, 480))
    assert dims(fold_pixels(network([1, 3, "?", "?"]), pinned)) == [1, 640, 480, 3]
    assert dims(fold_pixels(network(["n", 3, 640, 480]), pinned)) == ["batch", 640, 480, 3]
    assert dims(fold_pixels(network(["n", 3, 224, 224]), CLIP)) == ["batch", 224, 224, 3]
    assert dims(fold_pixels(network(["n", 3, 48, "w"]), OCR)) == ["batch", 48, "width", 3]
    with pytest.raises(RewriteError, match=r"takes pictures of \[224, 224\], not \[640, 480\]"):
        fold_pixels(network(["n", 3, 224, 224]), pinned)


@pytest.mark.parametrize(
    ("shape", "elem_type"),
    [(["n", 1, 28, 28], FLOAT), (["n", 77], TensorProto.INT32), (["n", 224, 224, 3], FLOAT), ([], FLOAT)],
)
def test_another_input_is_refused(shape: Dims, elem_type: int) -> None:
    with pytest.raises(RewriteError, match="the input is neither"):
        fold_pixels(network(shape, elem_type), CLIP)


def test_a_second_input_is_refused_by_name() -> None:
    model = network(["n", 3, 16, 32])
    model.graph.input.append(helper.make_tensor_value_info("scale", FLOAT, [1]))
    with pytest.raises(RewriteError, match=r"\['image', 'scale'\]"):
        fold_pixels(model, CLIP)
