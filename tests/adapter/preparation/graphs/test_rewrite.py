"""From a published graph to the one that Triton runs: proven, or not there."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from adapter.preparation.config import Tensor
from adapter.preparation.graphs import samples
from adapter.preparation.graphs.file import read
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.proof import ProofFailed, Sample, Session
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from tests.support.graphs import (
    Graph,
    save,
    text_transformer,
    vision_transformer,
)

CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SCRFD = Normalisation((127.5,) * 3, (128.0,) * 3, scale=None, size=(32, 32))


def picture_recipe(how: Normalisation, height: int, width: int) -> Recipe:
    return Recipe([{PIXELS: picture} for picture in samples.pictures(height, width)], how)


def text_samples(length: int = 7) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [{"text": rng.permutation(50)[:length].astype(np.int32)} for _ in range(3)]


def test_a_picture_graph_takes_batches_of_pixels(tmp_path: Path) -> None:
    source = save(vision_transformer(), tmp_path / "source/model.onnx")
    rewritten = rewrite(source, tmp_path / "model.onnx", picture_recipe(CLIP, 16, 16))
    assert rewritten.inputs == (Tensor(PIXELS, "UINT8", (16, 16, 3)),)
    assert rewritten.outputs == (Tensor("embedding", "FP32", (24,)),)
    assert (rewritten.batchable, rewritten.why_not) == (True, None)


def test_a_newer_export_keeps_its_nodes(tmp_path: Path) -> None:
    g = Graph()
    x = g.op("Cast", g.input("image", ["batch", 8, 8, 3], TensorProto.UINT8), to=TensorProto.FLOAT)
    g.op("ReduceMean", x, axes=[1, 2], keepdims=0, output="embedding")
    g.output("embedding", ["batch", 3])
    source = save(g.model(), tmp_path / "source/model.onnx")
    rewritten = rewrite(source, tmp_path / "model.onnx", picture_recipe(CLIP, 8, 8))
    assert rewritten.batchable
    assert [node.op_type for node in read(tmp_path / "model.onnx").graph.node] == [
        "Identity",
        "Cast",
        "ReduceMean",
    ]


def test_a_graph_whose_batch_cannot_be_followed_keeps_to_single_items_and_says_why(tmp_path: Path) -> None:
    g = Graph()
    g.op("Softmax", g.input("text", [1, 7]), axis=0, output="y")
    g.output("y", [1, 7])
    source = save(g.model(), tmp_path / "source/model.onnx")
    floats = [{"text": sample["text"].astype(np.float32)} for sample in text_samples()]
    rewritten = rewrite(source, tmp_path / "model.onnx", Recipe(floats))
    assert rewritten.inputs == (Tensor("text", "FP32", (1, 7)),)
    assert rewritten.outputs == (Tensor("y", "FP32", (1, 7)),)
    assert (rewritten.batchable, rewritten.why_not) == (
        False,
        "no batch passes Softmax y: it works along the batch",
    )


def test_a_graph_whose_rows_turn_out_to_mix_keeps_to_single_items(tmp_path: Path) -> None:
    """A running sum over the batch has the right shapes: only the proof can tell."""
    g = Graph()
    g.op("CumSum", g.input("text", [1, 7]), g.constant(np.array(0, np.int64)), output="y")
    g.output("y", [1, 7])
    source = save(g.model(), tmp_path / "source/model.onnx")
    floats = [{"text": sample["text"].astype(np.float32)} for sample in text_samples()]
    rewritten = rewrite(source, tmp_path / "model.onnx", Recipe(floats))
    assert not rewritten.batchable
    assert rewritten.why_not is not None
    assert "y is off by" in rewritten.why_not
    assert len(Session(tmp_path / "model.onnx").alone(floats)) == 3


def test_a_source_whose_answers_are_not_finite_leaves_nothing(tmp_path: Path) -> None:
    g = Graph()
    g.op(
        "Log",
        g.op("Neg", g.op("Cast", g.input("text", [1, 7], TensorProto.INT32), to=TensorProto.FLOAT)),
        output="y",
    )
    g.output("y", [1, 7])
    source = save(g.model(), tmp_path / "source/model.onnx")
    (tmp_path / "target").mkdir()
    with pytest.raises(ProofFailed, match="y is not finite"):
        rewrite(source, tmp_path / "target/model.onnx", Recipe(text_samples()))
    assert list((tmp_path / "target").iterdir()) == []


def test_the_target_is_a_graph_of_its_own_and_nothing_else_is_left(tmp_path: Path) -> None:
    source = save(text_transformer("coordinates"), tmp_path / "source/model.onnx")
    (tmp_path / "target").mkdir()
    before = source.read_bytes()
    rewrite(source, tmp_path / "target/model.onnx", Recipe(text_samples()))
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["model.onnx"]
    assert source.read_bytes() == before


def test_a_source_that_cannot_be_run_leaves_nothing(tmp_path: Path) -> None:
    source = save(text_transformer("flattened"), tmp_path / "source/model.onnx")
    (tmp_path / "target").mkdir()
    with pytest.raises(ProofFailed, match="cannot run a batch of 1"):
        rewrite(source, tmp_path / "target/model.onnx", Recipe(text_samples(length=9)))
    assert list((tmp_path / "target").iterdir()) == []


def test_the_real_line_recogniser_keeps_its_variable_width(tmp_path: Path, shared: Path) -> None:
    source = shared / "models/ocr/PP-OCRv5_mobile/recognition/model.onnx"
    recipe = picture_recipe(Normalisation((0.5,) * 3, (0.5,) * 3, channels="bgr"), 48, 320)
    rewritten = rewrite(source, tmp_path / "model.onnx", recipe)
    assert rewritten.inputs == (Tensor(PIXELS, "UINT8", (48, -1, 3)),)
    assert (rewritten.outputs, rewritten.batchable) == ((Tensor("fetch_name_0", "FP32", (-1, 18385)),), True)
    assert "character" in {entry.key for entry in read(tmp_path / "model.onnx").metadata_props}
