"""The stand-ins: as large and as costly as what they stand in for, and fit to be served."""

from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, shape_inference

from adapter.errors import SetupError
from adapter.preparation.graphs.batching import make_batch_dynamic
from adapter.preparation.graphs.samples import pictures
from bench import standins
from bench.standins import arcface, clip, scrfd
from demo.models import face_graphs
from demo.models.clip import END, tokenizer, write_settings
from demo.show.faces import CROWD, draw_crowd
from transforms import faces as transforms
from transforms.text import Tokenizer

Array = NDArray[Any]
Build = Callable[[], onnx.ModelProto]

recogniser, detector = (partial(module.model, standins.FACES) for module in (arcface, scrfd))


def weights(model: onnx.ModelProto) -> int:
    """Numbers that were trained in the published model; a mask was not."""
    return sum(prod(t.dims) for t in model.graph.initializer if t.dims[-2:] != [77, 77])


def multiplications(model: onnx.ModelProto, image: tuple[int, ...]) -> int:
    """Multiplications of the convolutions and matrix products. The model is changed."""
    graph = model.graph
    for dim, size in zip(graph.input[0].type.tensor_type.shape.dim, image, strict=True):
        dim.dim_value = size
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for tensor in [t for t in graph.initializer if prod(t.dims) > 100]:  # only their shapes are of interest
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        graph.initializer.remove(tensor)
    del graph.output[:]
    for value in shape_inference.infer_shapes(model, data_prop=True).graph.value_info:
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    shapes[graph.input[0].name] = list(image)
    return sum(_multiplications(node, shapes) for node in graph.node)


def _multiplications(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    match node.op_type:
        case "Conv":  # of one picture: inference loses the batch where something is resized
            each, results = prod(shapes[node.input[1]][1:]), prod(shapes[node.output[0]][1:])
        case "MatMul" | "Gemm":
            each, results = shapes[node.input[0]][-1], prod(shapes[node.output[0]])
        case _:
            return 0
    assert each
    assert results
    return each * results


def run_each(graph: bytes, *items: Array) -> list[list[Array]]:
    """The outputs for each item, which is given alone."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    return [session.run(None, {value.name: item[None]}) for item in items]


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.array((pixels.transpose(2, 0, 1) - 127.5) / 128, np.float32)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokenizer:
    write_settings(tmp_path / "m", {}, tokenizer(clip.vocabulary(), clip.SHORTEN), END)
    return Tokenizer(tmp_path / "m/textual/tokenizer.json", pad_token=END)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "millions", "billions", "image"),
    [
        pytest.param(clip.visual_model, 87.85, 4.41, (1, 3, 224, 224), id="picture"),
        pytest.param(clip.textual_model, 63.43, 2.98, (1, 77), id="text"),
        pytest.param(recogniser, 174_383_860 / 4e6, 6.31, (1, 3, 112, 112), id="recognition"),
    ],
)
def test_a_graph_is_as_large_and_as_costly_as_published_and_a_batch_can_be_followed_through(
    build: Build, millions: float, billions: float, image: tuple[int, ...]
) -> None:
    model, copy = build(), onnx.ModelProto()
    copy.CopyFrom(model)
    assert weights(model) / 1e6 == pytest.approx(millions, rel=1e-3)
    batched = make_batch_dynamic(copy)
    assert batched.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert multiplications(model, image) / 1e9 == pytest.approx(billions, abs=0.005)


def test_the_detector_is_as_large_and_as_costly_as_scrfd_10g_beside_the_one_that_finds_faces(
    tmp_path: Path,
) -> None:
    """insightface's table: 4.23 million weights, 10 G at VGA; the file is of 16,923,827 bytes."""
    face_graphs.build(tmp_path)
    own, drawn = detector(), onnx.load(tmp_path / "detection/model.onnx")
    assert weights(own) - weights(drawn) == pytest.approx(16_923_827 / 4, rel=0.002)
    vga = (1, 3, 480, 640)
    assert multiplications(own, vga) - multiplications(drawn, vga) == pytest.approx(10.0e9, rel=0.002)


@pytest.mark.slow
def test_the_detector_finds_exactly_what_demo_face_finds(tmp_path: Path) -> None:
    face_graphs.build(tmp_path)
    letterboxes = [transforms.letterbox(picture) for picture in (draw_crowd(), *pictures(480, 640)[:1])]
    canvases = [normalised(canvas) for canvas, _ in letterboxes]
    own = run_each(detector().SerializeToString(), *canvases)
    drawn = run_each((tmp_path / "detection/model.onnx").read_bytes(), *canvases)
    counts = []
    for (_, scale), heads, expected in zip(letterboxes, own, drawn, strict=True):
        farthest = [abs(head - other).max() for head, other in zip(heads, expected, strict=True)]
        assert 0 < max(farthest) < 1e-4  # faintly there
        found, wanted = (transforms.decode_heads(each, scale, 0.7) for each in (heads, expected))
        assert len(found.scores) == len(wanted.scores)
        counts.append(len(found.scores))
    assert counts == [len(CROWD), 0]


def test_a_text_has_a_token_a_word_between_the_marks(tokens: Tokenizer) -> None:
    texts = ["", "dog", "two people at a table in a restaurant by the sea", "Photos of 2024", "漢字"]
    for text, ids in zip(texts, tokens.encode(texts).ids.tolist(), strict=True):
        length = len(text.split()) + 2
        assert (ids[0], ids[length - 1 :]) == (49406, [49407] * (78 - length))
        assert max(ids[: length - 1]) < 49407
    dog, cat = tokens.encode(["dog", "cat"]).ids
    assert dog[1] != cat[1]


@pytest.mark.slow
def test_texts_differ_by_their_words_and_not_by_what_follows_them(tokens: Tokenizer) -> None:
    ids = tokens.encode(["dog", "cat", "a dog"]).ids
    beyond = np.where(np.arange(77) > 2, 5, ids[0])  # it has two tokens and its end
    *words, changed = vectors_of(clip.textual_model, *ids, beyond.astype(np.int32))
    np.testing.assert_allclose(changed, words[0], atol=1e-6)
    assert_distinct(np.stack(words))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "side"), [(clip.visual_model, 224), (recogniser, 112)])
def test_pictures_differ_and_no_layer_lets_them_grow_or_vanish(build: Build, side: int) -> None:
    vectors = vectors_of(build, *map(normalised, pictures(side, side)))
    lengths = np.linalg.norm(vectors, axis=1)
    assert ((lengths > 0.999) & (lengths < 100)).all()  # a trained recogniser's are about 20
    assert_distinct(vectors / lengths[:, None])


@pytest.mark.slow
def test_what_is_asked_for_is_written_once(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        standins.build(tmp_path, {standins.FACES, "demo-clip"}, said.append)
    folder = tmp_path / "facial-recognition" / standins.FACES
    assert said == [f"writing {folder}, some hundred MB"]
    graphs = [folder / part / "model.onnx" for part in ("detection", "recognition")]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == graphs


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"/file/.* cannot be written: .*Not a directory"):
        standins.build(tmp_path / "file", {standins.CLIP}, print)


def vectors_of(build: Build, *items: Array) -> Array:
    return np.concatenate([outputs[0] for outputs in run_each(build().SerializeToString(), *items)])


def assert_distinct(units: Array) -> None:
    """Vectors of length 1 that are finite and not alike."""
    assert (units @ units.T - np.eye(len(units))).max() < 0.97
