"""Text graphs take short texts where that makes no difference, and stay as they are where it does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from adapter.preparation.manifest import Prepared
from adapter.preparation.repository import prepare
from adapter.protocol import Part, TaskName, TypeName
from tests.support import families
from tests.support.configs import faults, graph_faults, parse, read_repository
from tests.support.defaults import preparation_settings
from tests.support.families import TEXT_LENGTH, WIDTH, Files
from tests.support.graphs import FLOAT, Graph

PART = Part(TaskName.CLIP, TypeName.TEXTUAL, "m")
ENCODER, TOKENIZE = "m.textual.encoder", "m.textual.tokenize"

Change = Callable[[Graph, str], str]
"""Adds nodes behind the sums of all tokens up to each, which are (n, 77, width)."""


class Workshop:
    """Models are prepared here, into a repository each."""

    def __init__(self, folder: Path) -> None:
        self._source, self._repository = folder / "source", folder / "state/model_repository"

    def prepare(self, files: Files) -> Prepared:
        for name, content in files.items():
            (self._source / name).parent.mkdir(parents=True, exist_ok=True)
            (self._source / name).write_bytes(content)
        prepared = prepare(PART, self._source, self._repository, preparation_settings())
        assert faults(read_repository(self._repository)) == []
        assert graph_faults(self._repository / ENCODER / "1/model.onnx") == []
        return prepared

    def lengths(self) -> tuple[int, str | None]:
        """Of the texts that are passed on, and what they are padded to if that varies."""
        configs = {name: parse(text) for name, text in read_repository(self._repository).items()}
        tensors = [*configs[ENCODER].input, *configs[TOKENIZE].output]
        (length,) = {tensor.dims[-1] for tensor in tensors}
        parameters = configs[TOKENIZE].parameters
        return length, parameters["buckets"].string_value if "buckets" in parameters else None


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


SHORT = (-1, "10,20,40")
FAMILIES_OF_SHORT_TEXTS: dict[str, Callable[[], Files]] = {
    "OpenCLIP for one text": lambda: families.open_clip(1),
    "OpenCLIP for a batch": lambda: families.open_clip(families.BATCH),
    "OpenCLIP with its weights apart": families.open_clip_with_weights_apart,
    "OpenCLIP of the newer exporter": families.newer_open_clip,
    "M-CLIP": lambda: families.multilingual_clip(TensorProto.INT64),
}


@pytest.mark.parametrize("build", FAMILIES_OF_SHORT_TEXTS.values(), ids=FAMILIES_OF_SHORT_TEXTS)
def test_where_nothing_behind_a_text_counts_it_is_as_long_as_it_is(
    workshop: Workshop, build: Callable[[], Files]
) -> None:
    assert workshop.prepare(build()).notes == ()
    assert workshop.lengths() == SHORT


FAMILIES_OF_LONG_TEXTS: dict[str, tuple[int, Callable[[], Files]]] = {
    "SigLIP": (64, families.siglip),
    "XLM-Roberta, which knows padding by its id": (77, families.xlm_roberta),
    "nllb, which does so too": (77, lambda: families.nllb(["eng_Latn"])),
}


@pytest.mark.parametrize(("length", "build"), FAMILIES_OF_LONG_TEXTS.values(), ids=FAMILIES_OF_LONG_TEXTS)
def test_where_padding_counts_all_of_it_is_given_and_the_reason_is_told(
    workshop: Workshop, length: int, build: Callable[[], Files]
) -> None:
    (note,) = workshop.prepare(build()).notes
    assert note.startswith("all texts are padded to the full length: embedding is off by ")
    assert note.endswith("with other tokens behind the text's end")
    assert workshop.lengths() == (length, None)


def sums(change: Change = lambda g, x: x, *, batch: int | str = families.BATCH) -> Files:
    """A model whose vector is the sum of a text's tokens, changed."""
    g = Graph()
    text = g.input("text", [batch, TEXT_LENGTH], TensorProto.INT32)
    x = g.op("CumSum", g.op("Gather", g.weight(300, WIDTH), text), g.constant(np.array(1)))
    end = g.op("Unsqueeze", g.op("ArgMax", text, axis=-1, keepdims=1), g.integers(-1))
    at_end = g.op("GatherElements", change(g, x), g.op("Expand", end, g.integers(1, 1, WIDTH)), axis=1)
    g.op("Squeeze", at_end, g.integers(1), output="embedding")
    g.output("embedding", [batch, WIDTH])
    return {**families.open_clip(1), "textual/model.onnx": g.model().SerializeToString()}


def touched_by_all(g: Graph, x: str) -> str:
    """With a ten-thousandth of the mean of everything."""
    share = g.constant(np.array(1e-4, np.float32))
    return g.op("Add", x, g.op("Mul", g.op("ReduceMean", x, axes=[1], keepdims=1), share))


def times_the_length(g: Graph, x: str) -> str:
    return g.op("Mul", x, g.op("Cast", g.integers(TEXT_LENGTH), to=FLOAT))


def mixed_where_short(g: Graph, x: str) -> str:
    """With what a text differs from the mean of its batch, as often as tokens are missing."""
    length = g.op("Cast", g.op("Gather", g.op("Shape", x), g.integers(1)), to=FLOAT)
    missing = g.op("Sub", g.constant(np.array(TEXT_LENGTH, np.float32)), length)
    others = g.op("Sub", x, g.op("ReduceMean", x, axes=[0], keepdims=1))
    return g.op("Add", x, g.op("Mul", others, missing))


def test_a_sum_up_to_the_end_is_shortened(workshop: Workshop) -> None:
    assert workshop.prepare(sums()).notes == ()
    assert workshop.lengths() == SHORT


def test_padding_that_counts_a_little_is_found(workshop: Workshop) -> None:
    (note,) = workshop.prepare(sums(touched_by_all)).notes
    assert note.endswith("with other tokens behind the text's end")
    assert workshop.lengths() == (77, None)


@pytest.mark.parametrize(
    ("change", "where"),
    [(times_the_length, "at 10 tokens, alone"), (mixed_where_short, "at 10 tokens, in a batch of 2")],
)
def test_a_graph_that_says_something_else_when_it_is_cut_stays_whole(
    workshop: Workshop, change: Change, where: str
) -> None:
    (note,) = workshop.prepare(sums(change)).notes
    assert "embedding is off by" in note
    assert note.endswith(where)
    assert workshop.lengths() == (77, None)


def test_a_graph_that_takes_one_text_at_a_time_takes_a_short_one(workshop: Workshop) -> None:
    def running_sum(g: Graph, x: str) -> str:
        return g.op("CumSum", x, g.constant(np.array(0)))

    (note,) = workshop.prepare(sums(running_sum)).notes
    assert note.startswith("not batched: ")
    assert workshop.lengths() == SHORT
