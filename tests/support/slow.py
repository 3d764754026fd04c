"""A text model that works for as long as it is told to: the more often a text says `~`, the longer."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from tests.support import families
from tests.support.families import TEXT_LENGTH
from tests.support.graphs import FLOAT, Graph

NAME = "slow-clip"
WIDTH = 256
TURNS = 120
"""Turns of the graph's loop for each sign."""
LONG = "~" * 70
"""Keeps a core busy for about a second."""


def place(cache: Path) -> None:
    """Puts the model's text half into a cache folder, as a user does with one of their own."""
    files = families.xlm_roberta()
    files["textual/model.onnx"] = _graph(_sign_id(files)).SerializeToString()
    families.write(files, cache / "clip" / NAME)


def _sign_id(files: families.Files) -> int:
    return Tokenizer.from_str(files["textual/tokenizer.json"].decode()).get_vocab()["~"]


def _graph(sign_id: int) -> onnx.ModelProto:
    g = Graph()
    text = g.input("text", [1, TEXT_LENGTH], TensorProto.INT32)
    x = g.op("Gather", g.weight(300, WIDTH), text)  # (1, length, width)
    signs = g.op("Cast", g.op("Equal", text, _number(g, sign_id, np.int32)), to=TensorProto.INT64)
    turns = g.op("Mul", g.op("ReduceSum", signs, keepdims=0), _number(g, TURNS, np.int64))
    worked = g.op("Loop", turns, "", x, body=_turn(g.weight(WIDTH, WIDTH)))
    hint = g.op("Mul", worked, _number(g, 1e-6, np.float32))  # it is work, not meaning
    mean = g.op("ReduceMean", g.op("Add", x, hint), axes=[1], keepdims=0)
    g.op("LpNormalization", mean, axis=-1, p=2, output="embedding")
    g.output("embedding", [1, WIDTH])
    return g.model()


def _turn(weight: str) -> onnx.GraphProto:
    shape = [1, TEXT_LENGTH, WIDTH]
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["before", weight], ["product"]),
            helper.make_node("Tanh", ["product"], ["after"]),
            helper.make_node("Identity", ["goes_on"], ["still_goes_on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("still_goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", FLOAT, shape),
        ],
    )


def _number(g: Graph, value: float, dtype: type[np.generic]) -> str:
    array: NDArray[np.generic] = np.array(value, dtype)
    return g.constant(array)
