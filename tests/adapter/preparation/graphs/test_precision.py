"""Half precision and 8-bit integers: measured against float32 before they are served, or refused."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime import GraphOptimizationLevel

from adapter.preparation.graphs import samples
from adapter.preparation.graphs.file import RewriteError, read
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.precision import reduce_precision
from adapter.preparation.graphs.proof import Sample, Session
from adapter.preparation.graphs.reduction import halve
from adapter.preparation.graphs.rewrite import Recipe, Rewritten, rewrite
from adapter.setting_types import Precision
from tests.support.graphs import Graph, save, vision_transformer

HALF, INTEGERS = Precision.FP16, Precision.INT8
MEANS = Normalisation((127.5,) * 3, (127.5,) * 3, scale=None)


class Encoder:
    """A prepared graph, and what it is measured with."""

    def __init__(
        self, source: Path, folder: Path, items: Sequence[Sample], how: Normalisation | None
    ) -> None:
        self.graph, self.items = folder / "prepared/model.onnx", items
        self.graph.parent.mkdir()
        self.full = rewrite(source, self.graph, Recipe(items[:3], how))
        self.vectors = self.run()

    def reduce(self, precision: Precision) -> Rewritten:
        return reduce_precision(self.full, self.graph, self.items, precision)

    def run(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        answers = Session(self.graph, level).alone(self.items)
        return np.concatenate([array for answer in answers for array in answer.values()])

    def lowest_cosine(self) -> float:
        found = self.run()
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(self.vectors, axis=1)
        return float(((found * self.vectors).sum(axis=1) / norms).min())


def pictures(source: Path, folder: Path, size: int) -> Encoder:
    items = [{PIXELS: picture} for picture in samples.pictures(size, size, samples.MOST)]
    return Encoder(source, folder, items, MEANS)


def noted(prepared: Rewritten) -> float:
    (note,) = prepared.notes
    found = re.fullmatch(r"(?:fp16|int8): cosine to fp32 is (0\.\d+) or more, on 8 samples", note)
    assert found, note
    return float(found[1])


def numbers(folder: Path, build: Graph, width: int, scale: Sequence[float]) -> Encoder:
    """An encoder of the vector `x`, whose numbers are as large as `scale` says."""
    rng = np.random.default_rng(1)
    items = [{"x": (rng.normal(0, 1, width) * scale).astype(np.float32)} for _ in range(samples.MOST)]
    return Encoder(save(build.model(), folder / "source/model.onnx"), folder, items, None)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [HALF, INTEGERS], ids=["fp16", "int8"])
def test_a_real_tower_is_converted_and_keeps_its_interface(
    tmp_path: Path, shared: Path, precision: Precision
) -> None:
    encoder = pictures(shared / "models/clip/ViT-T-32__small/visual/model.onnx", tmp_path, 224)
    size = encoder.graph.stat().st_size
    reduced = encoder.reduce(precision)
    assert encoder.lowest_cosine() >= noted(reduced) >= 0.999
    assert encoder.graph.stat().st_size < 0.6 * size
    assert (reduced.inputs, reduced.outputs) == (encoder.full.inputs, encoder.full.outputs)
    assert reduced.half == (precision is HALF)
    model = read(encoder.graph)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx", "ai.onnx.ml"}


@pytest.mark.slow
def test_convolutions_are_halved_but_not_quantised(tmp_path: Path, shared: Path) -> None:
    encoder = pictures(shared / "models/facial-recognition/buffalo_s/recognition/model.onnx", tmp_path, 112)
    before = encoder.graph.read_bytes()
    assert encoder.reduce(INTEGERS).notes == ("fp32, not int8: it is made of convolutions",)
    assert encoder.graph.read_bytes() == before
    assert noted(encoder.reduce(HALF)) >= 0.999


def test_what_overflows_a_float16_is_refused_although_a_cpu_would_compute_it(tmp_path: Path) -> None:
    g = Graph()
    large = g.op("Mul", g.linear(g.input("x", [1, 16]), 16, 16), g.constant(np.array(6e4, np.float32)))
    g.op("Div", large, g.op("ReduceL2", large, axes=[-1]), output="embedding")
    g.output("embedding", [1, 16])
    encoder = numbers(tmp_path, g, 16, [10.0] * 16)
    with pytest.raises(RewriteError, match="fp16: its vectors are not finite; set IMMICH_TRITON_PRECISION"):
        encoder.reduce(HALF)
    halve(encoder.graph, encoder.graph)
    assert np.isfinite(encoder.run()).all(), "here the runtime computes it in float32"


def test_small_differences_of_large_numbers_are_refused_in_fp16(tmp_path: Path) -> None:
    g = Graph()
    offset = g.constant(np.array(1000, np.float32))
    moved = g.op("Add", g.linear(g.input("x", [1, 16]), 16, 16), offset)
    g.op("Sub", moved, offset, output="embedding")
    g.output("embedding", [1, 16])
    with pytest.raises(RewriteError, match=r"fp16: its cosine to fp32 is 0\.9\d+, under 0\.999"):
        numbers(tmp_path, g, 16, [1.0] * 16).reduce(HALF)


def test_one_large_number_among_small_ones_is_refused_in_int8(tmp_path: Path) -> None:
    """The large one, which the weights leave out, sets the steps of eight bits."""
    g = Graph()
    weights = np.eye(16, dtype=np.float32)
    weights[-1] = 0
    g.op("MatMul", g.input("x", [1, 16]), g.initializer(weights), output="embedding")
    g.output("embedding", [1, 16])
    encoder = numbers(tmp_path, g, 16, [1.0] * 15 + [1000.0])
    with pytest.raises(RewriteError, match=r"int8: its cosine to fp32 is -?0\.\d+, under 0\.98"):
        encoder.reduce(INTEGERS)
    assert [path.name for path in encoder.graph.parent.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", [HALF, INTEGERS], ids=["fp16", "int8"])
def test_weights_in_a_file_of_their_own_stay_so_and_the_sources_are_not_touched(
    tmp_path: Path, precision: Precision
) -> None:
    source = tmp_path / "source/model.onnx"
    source.parent.mkdir()
    onnx.save_model(
        vision_transformer(width=48), source, save_as_external_data=True, location="weights", size_threshold=0
    )
    before = (source.parent / "weights").read_bytes()
    encoder = pictures(source, tmp_path, 16)
    noted(encoder.reduce(precision))
    assert {path.name for path in encoder.graph.parent.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert encoder.graph.stat().st_size < 2 * len(before)
    assert encoder.lowest_cosine() > 0.99
    assert (source.parent / "weights").read_bytes() == before
