"""Text graphs cut to shorter texts: the vectors of the whole graph, at every length."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from adapter.preparation.graphs.batching import make_batch_dynamic
from adapter.preparation.graphs.file import read
from adapter.preparation.graphs.lengths import make_length_dynamic
from adapter.preparation.graphs.proof import SINGLE_TOLERANCE, difference
from adapter.preparation.graphs.shortening import lengths_up_to
from tests.support.graphs import Graph, attention_tokens_first, causal_mask
from tests.support.shared import SHARED

Ids = NDArray[np.int32]

FULL = 77
VOCABULARY, WIDTH = 300, 12
SMALL = SHARED / "models/clip/ViT-T-32__small"


class Pair:
    """A graph as it was published, run one by one at full length, and what was made of it.

    Args:
        end: the largest id, which marks the end of a text and pads it.
    """

    def __init__(self, source: onnx.ModelProto, end: int) -> None:
        self._end = end
        self._source = _session(source)
        self._short = _session(make_length_dynamic(make_batch_dynamic(source), FULL))

    def assert_same(self, ids: Ids) -> None:
        """The vectors of (n, length) ids are those at full length."""
        padded = np.full((len(ids), FULL), self._end, np.int32)
        padded[:, : ids.shape[1]] = ids
        expected = [_run(self._source, row[np.newaxis])[0] for row in padded]
        for own, found in zip(expected, _run(self._short, ids), strict=True):
            assert difference(own, found) <= SINGLE_TOLERANCE

    def texts(self, *counts: int, length: int) -> Ids:
        """Texts of so many tokens, padded."""
        rng = np.random.default_rng(counts)
        ids = np.full((len(counts), length), self._end, np.int32)
        for row, count in zip(ids, counts, strict=True):
            row[: count - 1] = [self._end - 1, *rng.integers(1, self._end - 1, count - 2)]
        return ids


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(session: onnxruntime.InferenceSession, ids: Ids) -> NDArray[np.float32]:
    (entry,) = session.get_inputs()
    found: NDArray[np.float32] = session.run(None, {entry.name: ids})[0]
    return found


@pytest.fixture(scope="module")
def real(shared: Path) -> Pair:
    """A small OpenCLIP, as `torch.onnx.export` traced it."""
    return Pair(read(SMALL / "textual/model.onnx"), end=49407)


@pytest.mark.parametrize("count", range(2, FULL + 1))
def test_a_text_of_any_number_of_tokens_needs_no_more(real: Pair, count: int) -> None:
    real.assert_same(real.texts(count, length=count))


@pytest.mark.parametrize("length", lengths_up_to(FULL))
def test_a_batch_of_texts_of_different_lengths_gets_the_vectors_of_each(real: Pair, length: int) -> None:
    real.assert_same(real.texts(2, 3, length // 2, length - 1, length, 4, length=length))


def traced(*, position_ids: bool) -> onnx.ModelProto:
    """One layer for one text: the length is in shapes, in a mask, and in a table or in what is looked up there."""
    g = Graph()
    text = g.input("text", [1, FULL], TensorProto.INT32)
    places = g.weight(FULL, WIDTH)
    if position_ids:
        places = g.op("Gather", g.weight(514, WIDTH), g.constant(np.arange(FULL)[np.newaxis]))
    x = g.op("Add", g.op("Gather", g.weight(VOCABULARY, WIDTH), text), places)
    x = g.op("Add", x, attention_tokens_first(g, x, FULL, WIDTH, 3, causal_mask(g, FULL)))
    return _at_end(g, x, text)


def counted() -> onnx.ModelProto:
    """Positions and mask are made in the graph, from constants in the ways that ONNX has for a few integers."""
    g = Graph()
    text = g.input("text", ["batch", FULL], TensorProto.INT32)
    positions = g.op("Range", *(g.op("Constant", value_int=number) for number in (0, FULL, 1)))
    places = g.op("Gather", g.weight(FULL + 1, WIDTH), positions)
    x = g.op("Add", g.op("Gather", g.weight(VOCABULARY, WIDTH), text), places)
    ones = numpy_helper.from_array(np.ones(1, np.float32))
    square = g.op("ConstantOfShape", g.op("Constant", value_ints=[FULL, FULL]), value=ones)
    return _at_end(g, g.op("MatMul", g.op("Trilu", square, upper=0), x), text)


def _at_end(g: Graph, x: str, text: str) -> onnx.ModelProto:
    end = g.op("Unsqueeze", g.op("ArgMax", text, axis=-1, keepdims=1), g.integers(-1))
    there = g.op("GatherElements", x, g.op("Expand", end, g.integers(1, 1, WIDTH)), axis=1)
    g.op("Squeeze", there, g.integers(1), output="embedding")
    g.output("embedding", ["batch", WIDTH])
    return g.model()


EXPORTS: dict[str, Callable[[], onnx.ModelProto]] = {
    "a table of positions": lambda: traced(position_ids=False),
    "positions looked up": lambda: traced(position_ids=True),
    "all made in the graph": counted,
}


@pytest.mark.parametrize("build", EXPORTS.values(), ids=EXPORTS)
def test_wherever_an_exporter_left_the_length_it_becomes_that_of_the_texts(
    build: Callable[[], onnx.ModelProto],
) -> None:
    pair = Pair(build(), end=VOCABULARY - 1)
    for length in (2, *lengths_up_to(FULL)):
        pair.assert_same(pair.texts(2, (length + 2) // 2, length, length=length))
