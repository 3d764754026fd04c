"""Small graphs with made-up weights and the interfaces of Immich's three default models.

Weights apart they are what was published, with the batch of 1 in the same places: in a Reshape of CLIP's, in the
detector's heads and in the sizes of its Resize.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SIZE_PX, CONTEXT_LENGTH, DIMENSIONS = 224, 77, 512
CHARACTERS = tuple(chr(0x4E00 + index) for index in range(18383))
"""As many as PP-OCRv5's; which ones makes no difference to a config."""

START, END = "<|startoftext|>", "<|endoftext|>"
HEADS = {8: ("448", "451", "454"), 16: ("471", "474", "477"), 32: ("494", "497", "500")}
"""Stride of the face detector → its outputs: scores, boxes, landmarks."""

Dims = Sequence[int | str]
Weights = Mapping[str, NDArray[Any]]


def visual() -> onnx.ModelProto:
    """`image` (1, 3, 224, 224) → `embedding` (1, 512), of length 1."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Reshape", ["cells", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["vector"]),
        *_unit_length("vector", "embedding"),
    ]
    weights: Weights = {"flat": np.array([1, 147], np.int64), "projection": _random(147, DIMENSIONS)}
    image = _value("image", TensorProto.FLOAT, [1, 3, SIZE_PX, SIZE_PX])
    return _model(
        nodes, [image], [_value("embedding", TensorProto.FLOAT, [1, DIMENSIONS])], weights, opset=17
    )


def textual() -> onnx.ModelProto:
    """`text` int32 (1, 77) → `embedding` (1, 512), of length 1: all tokens up to the largest one, which is the end."""
    nodes = [
        helper.make_node("Gather", ["table", "text"], ["tokens"]),
        helper.make_node("Add", ["tokens", "positions"], ["placed"]),
        helper.make_node("CumSum", ["placed", "along"], ["sums"]),
        helper.make_node("ArgMax", ["text"], ["end"], axis=1, keepdims=0),
        helper.make_node("Reshape", ["sums", "flat"], ["rows"]),
        helper.make_node("Gather", ["rows", "end"], ["vector"]),
        *_unit_length("vector", "embedding"),
    ]
    weights: Weights = {
        "table": _random(258, DIMENSIONS),
        "positions": _random(CONTEXT_LENGTH, DIMENSIONS),
        "along": np.array(1, np.int64),
        "flat": np.array([CONTEXT_LENGTH, DIMENSIONS], np.int64),
    }
    text = _value("text", TensorProto.INT32, [1, CONTEXT_LENGTH])
    output = _value("embedding", TensorProto.FLOAT, [1, DIMENSIONS])
    return _model(nodes, [text], [output], weights, opset=17)


def face_detector() -> onnx.ModelProto:
    """det_10g: `input.1` (1, 3, ?, ?) → scores, boxes and landmarks (n, 1), (n, 4), (n, 10) at three strides."""
    nodes = [
        helper.make_node(
            "AveragePool", ["input.1"], [f"c{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
        )
        for stride in HEADS
    ]
    weights: dict[str, NDArray[Any]] = {
        **{f"shape/{width}": np.array([-1, width], np.int64) for width in (1, 4, 10)},
        **{f"at/{index}": np.array([index], np.int64) for index in (0, 2, 4)},
        "none": np.zeros(0, np.float32),
    }
    for stride in reversed(HEADS):  # each level needs the coarser one
        nodes += _pyramid(f"c{stride}", f"p{stride * 2}" if stride * 2 in HEADS else None, f"p{stride}")
    for stride, names in HEADS.items():
        for name, width in zip(names, (1, 4, 10), strict=True):
            weights[f"{name}/weight"] = _random(2 * width, 3, 1, 1)
            raw = f"{name}/raw" if width == 1 else name
            nodes += [
                helper.make_node(
                    "Conv", [f"p{stride}", f"{name}/weight"], [f"{name}/map"], kernel_shape=[1, 1]
                ),
                helper.make_node("Transpose", [f"{name}/map"], [f"{name}/cells"], perm=[2, 3, 0, 1]),
                helper.make_node("Reshape", [f"{name}/cells", f"shape/{width}"], [raw]),
            ]
            nodes += [helper.make_node("Sigmoid", [raw], [name])] if width == 1 else []
    outputs = [
        _value(names[kind], TensorProto.FLOAT, [2 * (640 // stride) ** 2, width])
        for kind, width in enumerate((1, 4, 10))
        for stride, names in HEADS.items()
    ]
    image = _value("input.1", TensorProto.FLOAT, [1, 3, "?", "?"])
    return _model(nodes, [image], outputs, weights, opset=11)


def face_recognizer() -> onnx.ModelProto:
    """w600k_r50: `input.1` (None, 3, 112, 112) → `683` (1, 512)."""
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["cells"], ["features"]),
        helper.make_node("Gemm", ["features", "weight"], ["683"]),
    ]
    image = _value("input.1", TensorProto.FLOAT, ["None", 3, 112, 112])
    output = _value("683", TensorProto.FLOAT, [1, DIMENSIONS])
    return _model(nodes, [image], [output], {"weight": _random(147, DIMENSIONS)}, opset=11)


def text_detector() -> onnx.ModelProto:
    """`x` (n, 3, h, w) → `fetch_name_0` (n, 1, h, w), 0 to 1."""
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["ink"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["ink"], ["fetch_name_0"]),
    ]
    image = _value(
        "x", TensorProto.FLOAT, ["DynamicDimension.0", 3, "DynamicDimension.1", "DynamicDimension.2"]
    )
    output = _value(
        "fetch_name_0",
        TensorProto.FLOAT,
        ["DynamicDimension.3", 1, "DynamicDimension.4", "DynamicDimension.5"],
    )
    return _model(nodes, [image], [output], {"weight": _random(1, 3, 3, 3)}, opset=11)


def text_recognizer() -> onnx.ModelProto:
    """`x` (n, 3, 48, w) → `fetch_name_0` (n, w/8, 18385), with the characters in its metadata."""
    classes = len(CHARACTERS) + 2
    nodes = [
        helper.make_node("AveragePool", ["x"], ["columns"], kernel_shape=[48, 8], strides=[48, 8]),
        helper.make_node("Squeeze", ["columns"], ["channels"], axes=[2]),
        helper.make_node("Transpose", ["channels"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["steps", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["fetch_name_0"], axis=2),
    ]
    lines = _value("x", TensorProto.FLOAT, ["DynamicDimension.0", 3, 48, "DynamicDimension.1"])
    output = _value("fetch_name_0", TensorProto.FLOAT, ["DynamicDimension.2", "DynamicDimension.3", classes])
    model = _model(nodes, [lines], [output], {"weight": 20 * _random(3, classes)}, opset=11)
    helper.set_model_props(model, {"character": "\n".join(CHARACTERS)})
    return model


def tokenizer() -> Tokenizer:
    """Bytes as tokens, between CLIP's own marks; it pads with the end mark, as openai's does."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*alphabet, START, END))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=END))
    made.add_special_tokens([START, END])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, vocabulary[token]) for token in (START, END)]
    )
    return made


def write_clip_files(folder: Path) -> None:
    """The files beside the graphs, as published for openai's ViT-B-32; only the tokenizer is a small one."""
    for half in ("visual", "textual"):
        (folder / half).mkdir(parents=True, exist_ok=True)
    for path, content in (
        (
            "config.json",
            {
                "embed_dim": DIMENSIONS,
                "vision_cfg": {"image_size": SIZE_PX, "layers": 12, "width": 768, "patch_size": 32},
                "text_cfg": {
                    "context_length": CONTEXT_LENGTH,
                    "vocab_size": 49408,
                    "width": 512,
                    "heads": 8,
                    "layers": 12,
                },
            },
        ),
        (
            "visual/preprocess_cfg.json",
            {
                "size": [SIZE_PX, SIZE_PX],
                "mode": "RGB",
                "mean": [0.48145466, 0.4578275, 0.40821073],
                "std": [0.26862954, 0.26130258, 0.27577711],
                "interpolation": "bicubic",
                "resize_mode": "shortest",
                "fill_color": 0,
            },
        ),
        (
            "textual/tokenizer_config.json",
            {
                "bos_token": START,
                "eos_token": END,
                "pad_token": END,
                "unk_token": END,
                "model_max_length": 77,
            },
        ),
    ):
        (folder / path).write_text(json.dumps(content))
    (folder / "textual/tokenizer.json").write_text(tokenizer().to_str(), encoding="utf-8")


def _pyramid(own: str, coarser: str | None, result: str) -> list[onnx.NodeProto]:
    """A level of the detector's feature pyramid: its own features, and the coarser level's at twice the size."""
    if coarser is None:
        return [helper.make_node("Identity", [own], [result])]
    return [
        helper.make_node("Shape", [own], [f"{own}/shape"]),
        helper.make_node("Slice", [f"{own}/shape", "at/2", "at/4", "at/0"], [f"{own}/sides"]),
        helper.make_node("Shape", [coarser], [f"{coarser}/shape"]),
        helper.make_node("Slice", [f"{coarser}/shape", "at/0", "at/2", "at/0"], [f"{coarser}/head"]),
        helper.make_node("Concat", [f"{coarser}/head", f"{own}/sides"], [f"{own}/sizes"], axis=0),
        helper.make_node(
            "Resize",
            [coarser, "none", "none", f"{own}/sizes"],
            [f"{coarser}/large"],
            coordinate_transformation_mode="asymmetric",
            mode="nearest",
            nearest_mode="floor",
        ),
        helper.make_node("Add", [own, f"{coarser}/large"], [result]),
    ]


def _unit_length(vector: str, result: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceL2", [vector], ["length"], axes=[1], keepdims=1),
        helper.make_node("Div", [vector, "length"], [result]),
    ]


def _random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _value(name: str, kind: int, dims: Dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(dims))


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Weights,
    *,
    opset: int,
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, constants)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
