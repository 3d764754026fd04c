"""Small graphs with the shapes that exporters leave behind: a batch of 1 in constants, axes and indices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT

Dims = Sequence[int | str]


class Graph:
    """A graph in the making. Weights are random, the same in every run."""

    def __init__(self, opset: int = 17) -> None:
        self._opset = opset
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dims: Dims, elem_type: int = FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, elem_type, dims))
        return name

    def output(self, name: str, dims: Dims, elem_type: int = FLOAT) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, elem_type, dims))

    def weight(self, *shape: int) -> str:
        values = self._rng.normal(0, max(shape[0], 1) ** -0.5, shape).astype(np.float32)
        return self.initializer(values)

    def initializer(self, values: NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def constant(self, value: NDArray[Any]) -> str:
        return self.op("Constant", value=numpy_helper.from_array(value))

    def op(self, operator: str, *inputs: str | NDArray[Any], output: str = "", **attributes: Any) -> str:
        """Adds a node, whose arrays become initializers, and returns its output's name."""
        output = output or f"t{len(self._nodes)}"
        names = [value if isinstance(value, str) else self.initializer(value) for value in inputs]
        self._nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def reshape(self, tensor: str, *shape: int) -> str:
        return self.op("Reshape", tensor, self.integers(*shape))

    def transpose(self, tensor: str, *perm: int) -> str:
        return self.op("Transpose", tensor, perm=perm)

    def linear(self, tensor: str, inputs: int, outputs: int) -> str:
        return self.op("MatMul", tensor, self.weight(inputs, outputs))

    def model(self, ir_version: int = 8) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "small", self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", self._opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def attend(g: Graph, q: str, k: str, v: str, *, transposed: Sequence[int], mask: str = "") -> str:
    """Softmax(q @ k + mask) @ v over the last two axes; `transposed` swaps those of k."""
    scores = g.op("MatMul", q, g.transpose(k, *transposed))
    scores = g.op("Add", scores, mask) if mask else scores
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


def attention_tokens_first(g: Graph, x: str, length: int, width: int, heads: int, mask: str = "") -> str:
    """torch's MultiheadAttention on (1, length, width), as traced: batch and heads merged, tokens first."""
    x = g.transpose(x, 1, 0, 2)
    q, k, v = (
        g.transpose(g.reshape(g.linear(x, width, width), length, heads, width // heads), 1, 0, 2)
        for _ in range(3)
    )
    q, k, v = (g.reshape(part, 1, heads, length, width // heads) for part in (q, k, v))
    mixed = attend(g, q, k, v, transposed=(0, 1, 3, 2), mask=mask)
    flat = g.reshape(g.transpose(mixed, 2, 0, 1, 3), length, width)
    flat = g.op("Gemm", flat, g.weight(width, width), g.weight(width))
    return g.transpose(g.reshape(flat, length, 1, width), 1, 0, 2)


def causal_mask(g: Graph, length: int) -> str:
    """(length, length): minus infinity for what stands behind."""
    return g.constant(np.triu(np.full((length, length), -np.inf, np.float32), 1))


def vision_transformer(
    *, batch: int | str = 1, width: int = 24, heads: int = 3, layers: int = 1
) -> onnx.ModelProto:
    """OpenCLIP's picture tower: class token joined to the patches, layers, the token's vector normalised."""
    g = Graph()
    image = g.input("image", [batch, 3, 16, 16])
    patches = g.op("Conv", image, g.weight(width, 3, 4, 4), strides=[4, 4], kernel_shape=[4, 4])
    tokens = g.transpose(g.reshape(patches, 1, width, 16), 0, 2, 1)
    x = g.op("Concat", g.weight(1, 1, width), tokens, axis=1)
    x = g.op("Add", x, g.weight(17, width))
    for _ in range(layers):
        x = g.op("Add", x, attention_tokens_first(g, x, 17, width, heads))
        x = g.op("LayerNormalization", x, g.weight(width), g.weight(width), axis=-1)
    x = g.op("Gather", x, g.constant(np.array(0, np.int64)), axis=1)
    norm = g.op("Clip", g.op("ReduceL2", x, axes=[-1], keepdims=1), g.constant(np.array(1e-12, np.float32)))
    g.op("Div", x, g.op("Expand", norm, g.op("Shape", x)), output="embedding")
    g.output("embedding", [batch, width])
    return g.model()


def text_transformer(pooling: str, *, length: int = 7, width: int = 8) -> onnx.ModelProto:
    """OpenCLIP's text tower without its layers: the vector of the largest token, picked as exporters do."""
    g = Graph()
    text = g.input("text", [1, length], TensorProto.INT32)
    x = g.op("Gather", g.weight(50, width), text, axis=0)
    x = g.op("Add", x, g.weight(length, width))
    last = g.op("ArgMax", text, axis=-1, keepdims=0)
    match pooling:
        case "flattened":  # TorchScript: the row's number times the length was folded to 0
            rows_ahead = g.op("Mul", g.integers(0), g.op("Gather", g.op("Shape", x), g.integers(1)))
            picked = g.op("Gather", g.op("Flatten", x, axis=2), g.op("Add", last, rows_ahead), axis=0)
        case "coordinates":  # dynamo: (0, position)
            zero = g.constant(np.zeros((1, 1), np.int64))
            pairs = g.op("Concat", zero, g.op("Unsqueeze", last, g.integers(-1)), axis=-1)
            picked = g.op("GatherND", x, pairs)
    g.op("MatMul", picked, g.weight(width, width), output="embedding")
    g.output("embedding", [1, width])
    return g.model()


def masked_text(*, length: int = 7, width: int = 8) -> onnx.ModelProto:
    """A Hugging Face encoder's way with masks: looked up by constant indices, and positions by `GatherElements`."""
    g = Graph()
    ids = g.input("input_ids", [1, length], TensorProto.INT64)
    mask = g.op("Cast", g.input("attention_mask", [1, length], TensorProto.INT64), to=FLOAT)
    kinds = g.constant(np.arange(60, dtype=np.int64).reshape(1, 60) % 2)
    kind = g.op("GatherElements", kinds, ids, axis=1)
    x = g.op("Add", g.op("Gather", g.weight(50, width), ids), g.op("Gather", g.weight(2, width), kind))
    indices = np.stack([np.zeros(length, np.int64), np.arange(length)], -1).reshape(1, 1, 1, length, 2)
    keys = g.op("GatherND", mask, g.constant(indices))  # (1, 1, 1, length)
    x4 = g.op("Unsqueeze", x, g.integers(1))
    scores = g.op("MatMul", x4, g.transpose(x4, 0, 1, 3, 2))
    mixed = g.op("MatMul", g.op("Mul", scores, keys), x4)
    g.op("ReduceMean", mixed, axes=[1, 2], keepdims=0, output="embedding")
    g.output("embedding", [1, width])
    return g.model()


def pooled_by_one_token(*, length: int = 5, width: int = 12, heads: int = 3) -> onnx.ModelProto:
    """CLIP ResNet's attention pool: the query is one token long, so that batch and tokens are both 1 at export."""
    g = Graph()
    x = g.transpose(g.input("features", [1, length, width]), 1, 0, 2)
    mean = g.op("ReduceMean", x, axes=[0], keepdims=1)
    size = width // heads
    q = g.transpose(g.reshape(g.linear(mean, width, width), 1, heads, size), 1, 0, 2)
    k, v = (g.transpose(g.reshape(g.linear(x, width, width), length, heads, size), 1, 0, 2) for _ in range(2))
    mixed = attend(g, q, k, v, transposed=(0, 2, 1))  # (heads, 1, size)
    flat = g.reshape(g.transpose(mixed, 1, 0, 2), 1, width)
    pooled = g.reshape(g.op("Gemm", flat, g.weight(width, width)), 1, 1, width)
    g.op("Gather", pooled, g.constant(np.array(0, np.int64)), axis=0, output="embedding")
    g.output("embedding", [1, width])
    return g.model()


def pooled_by_latent(*, length: int = 5, width: int = 12, heads: int = 3) -> onnx.ModelProto:
    """A pool whose query is a weight, with the heads merged into the batch: (heads, 1, size) for every item."""
    g = Graph()
    x = g.input("features", [1, length, width])
    size = width // heads
    split = g.transpose(g.reshape(g.linear(x, width, width), 1, length, heads, size), 0, 2, 1, 3)
    keys = g.reshape(split, heads, length, size)
    mixed = attend(g, g.weight(heads, 1, size), keys, keys, transposed=(0, 2, 1))
    g.op("Reshape", mixed, g.integers(1, width), output="embedding")
    g.output("embedding", [1, width])
    return g.model()


def detector(*, perm: Sequence[int], lead: bool, sizes: bool = True, opset: int = 11) -> onnx.ModelProto:
    """SCRFD in small: a pyramid joined by Resize, and a head whose cells are listed one below the other."""
    g = Graph(opset)
    image = g.input("input.1", [1, 3, "?", "?"])
    fine = g.op("Conv", image, g.weight(4, 3, 2, 2), strides=[2, 2], kernel_shape=[2, 2])  # 16 x 16
    coarse = g.op("Conv", fine, g.weight(4, 4, 2, 2), strides=[2, 2], kernel_shape=[2, 2])
    none = g.constant(np.array([], np.float32))
    scale = g.constant(np.array([1, 1, 2, 2], np.float32))
    shape = [none, none, g.integers(1, 4, 16, 16)] if sizes else [none, scale]
    merged = g.op("Add", fine, g.op("Resize", coarse, *shape, mode="nearest", nearest_mode="floor"))
    boxes = g.op("Conv", merged, g.weight(8, 4, 1, 1), kernel_shape=[1, 1])  # two anchors, four numbers
    listed = g.reshape(g.transpose(boxes, *perm), *([1, -1, 4] if lead else [-1, 4]))
    g.op("Sigmoid", listed, output="448")
    g.output("448", [1, 512, 4] if lead else [512, 4])
    return g.model(ir_version=6)
