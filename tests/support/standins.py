"""Small graphs with made-up weights and the interfaces of Immich's three default models.

Weights apart they are what was published, with the batch of 1 in the same places: in a Reshape of CLIP's, in the
detector's heads and in the sizes of its Resize.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support import families
from tests.support.families import END, OPENAI, Files
from tests.support.graphs import Graph

SIZE_PX, CONTEXT_LENGTH, DIMENSIONS = 224, 77, 512
CHARACTERS = tuple(chr(0x4E00 + index) for index in range(18383))
"""As many as PP-OCRv5's; which ones makes no difference to a config."""

HEADS = {8: ("448", "451", "454"), 16: ("471", "474", "477"), 32: ("494", "497", "500")}
"""Stride of the face detector → its outputs: scores, boxes, landmarks."""
WIDTHS = (1, 4, 10)


def visual() -> onnx.ModelProto:
    """`image` (1, 3, 224, 224) → `embedding` (1, 512), of length 1."""
    g = Graph()
    cells = _pool(g, g.input("image", [1, 3, SIZE_PX, SIZE_PX]), 32)
    return _unit_length(g, g.linear(g.op("Reshape", cells, np.array([1, 147])), 147, DIMENSIONS))


def textual() -> onnx.ModelProto:
    """`text` int32 (1, 77) → `embedding` (1, 512), of length 1: all tokens up to the largest one, which is the end."""
    g = Graph()
    text = g.input("text", [1, CONTEXT_LENGTH], TensorProto.INT32)
    placed = g.op(
        "Add", g.op("Gather", g.weight(258, DIMENSIONS), text), g.weight(CONTEXT_LENGTH, DIMENSIONS)
    )
    sums = g.op("CumSum", placed, np.array(1))
    rows = g.op("Reshape", sums, np.array([CONTEXT_LENGTH, DIMENSIONS]))
    return _unit_length(g, g.op("Gather", rows, g.op("ArgMax", text, axis=1, keepdims=0)))


def face_detector() -> onnx.ModelProto:
    """det_10g: `input.1` (1, 3, ?, ?) → scores, boxes and landmarks (n, 1), (n, 4), (n, 10) at three strides."""
    g = Graph(opset=11)
    image = g.input("input.1", [1, 3, "?", "?"])
    level = ""
    for stride in reversed(HEADS):  # each level needs the coarser one
        own = _pool(g, image, stride)
        level = g.op("Add", own, _enlarged(g, level, own)) if level else own
        for name, width in zip(HEADS[stride], WIDTHS, strict=True):
            found = g.op("Conv", level, g.weight(2 * width, 3, 1, 1), kernel_shape=[1, 1])
            cells = g.transpose(found, 2, 3, 0, 1)
            listed = g.op("Reshape", cells, np.array([-1, width]), output="" if width == 1 else name)
            if width == 1:
                g.op("Sigmoid", listed, output=name)
    for kind, width in enumerate(WIDTHS):
        for stride, names in HEADS.items():
            g.output(names[kind], [2 * (640 // stride) ** 2, width])
    return g.model()


def face_recognizer() -> onnx.ModelProto:
    """w600k_r50: `input.1` (None, 3, 112, 112) → `683` (1, 512)."""
    g = Graph(opset=11)
    features = g.op("Flatten", _pool(g, g.input("input.1", ["None", 3, 112, 112]), 16))
    g.op("Gemm", features, g.weight(147, DIMENSIONS), output="683")
    g.output("683", [1, DIMENSIONS])
    return g.model()


def text_detector() -> onnx.ModelProto:
    """`x` (n, 3, h, w) → `fetch_name_0` (n, 1, h, w), 0 to 1."""
    g = Graph(opset=11)
    image = g.input("x", ["DynamicDimension.0", 3, "DynamicDimension.1", "DynamicDimension.2"])
    ink = g.op("Conv", image, g.weight(1, 3, 3, 3), output="ink", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    g.op("Sigmoid", ink, output="fetch_name_0")
    g.output("fetch_name_0", ["DynamicDimension.3", 1, "DynamicDimension.4", "DynamicDimension.5"])
    return g.model()


def text_recognizer() -> onnx.ModelProto:
    """`x` (n, 3, 48, w) → `fetch_name_0` (n, w/8, 18385), with the characters in its metadata."""
    g = Graph(opset=11)
    classes = len(CHARACTERS) + 2
    lines = g.input("x", ["DynamicDimension.0", 3, 48, "DynamicDimension.1"])
    columns = g.op("AveragePool", lines, kernel_shape=[48, 8], strides=[48, 8])
    steps = g.transpose(g.op("Squeeze", columns, axes=[2]), 0, 2, 1)
    logits = g.op("Mul", g.linear(steps, 3, classes), np.array(35, np.float32))
    g.op("Softmax", logits, output="fetch_name_0", axis=2)
    g.output("fetch_name_0", ["DynamicDimension.2", "DynamicDimension.3", classes])
    model = g.model()
    helper.set_model_props(model, {"character": "\n".join(CHARACTERS)})
    return model


def clip_files() -> Files:
    """The files beside the graphs, as published for openai's ViT-B-32; only the tokenizer is a small one."""
    return {
        **families.configuration(SIZE_PX, DIMENSIONS, {"context_length": CONTEXT_LENGTH}, OPENAI),
        **families.tokenizer_files(families.openai_tokenizer(), END),
    }


def _pool(g: Graph, image: str, side: int) -> str:
    return g.op("AveragePool", image, kernel_shape=[side, side], strides=[side, side])


def _enlarged(g: Graph, coarse: str, fine: str) -> str:
    """A level of a feature pyramid at the size of the next: batch and channels of its own, sides of the other's."""
    at = [np.array([index]) for index in (0, 2, 4)]
    sides = g.op("Slice", g.op("Shape", fine), at[1], at[2], at[0])
    sizes = g.op("Concat", g.op("Slice", g.op("Shape", coarse), at[0], at[1], at[0]), sides, axis=0)
    none = np.zeros(0, np.float32)
    how = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
    return g.op("Resize", coarse, none, none, sizes, **how)


def _unit_length(g: Graph, vector: str) -> onnx.ModelProto:
    g.op("Div", vector, g.op("ReduceL2", vector, axes=[1], keepdims=1), output="embedding")
    g.output("embedding", [1, DIMENSIONS])
    return g.model()
