"""The stand-ins: as large and as costly as what they stand in for, and fit to be served."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
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
from adapter.preparation.graphs.file import read
from adapter.preparation.graphs.samples import pictures
from adapter.preparation.repository import prepare
from adapter.protocol import Part, TaskName, TypeName
from bench.standins import VERSION_FILE, build_standins, clip, faces, scrfd
from demo.models import face_graphs
from demo.models.clip import END, tokenizer, write_settings
from demo.show.faces import CROWD, draw_crowd
from tests.support.defaults import preparation_settings
from transforms import faces as transforms
from transforms.text import Tokenizer

Array = NDArray[Any]

CLIP, FACES = f"clip/{clip.NAME}", f"facial-recognition/{faces.NAME}"
GRAPHS = {
    "picture": f"{CLIP}/visual/model.onnx",
    "text": f"{CLIP}/textual/model.onnx",
    "recognition": f"{FACES}/recognition/model.onnx",
    "detection": f"{FACES}/detection/model.onnx",
}
VGA = (1, 3, 480, 640)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    said: list[str] = []
    build_standins(folder, said.append)
    assert said == [f"writing {folder / CLIP}, 607 MB", f"writing {folder / FACES}, 192 MB"]
    yield folder
    shutil.rmtree(folder)  # pytest would keep it


@pytest.fixture(scope="module")
def detector() -> onnx.ModelProto:
    return scrfd.model(faces.NAME)


def weights(model: onnx.ModelProto) -> int:
    """Numbers that were trained in the published model; a mask was not."""
    return sum(prod(t.dims) for t in model.graph.initializer if t.dims[-2:] != [77, 77])


def multiplications(model: onnx.ModelProto, image: tuple[int, ...] = ()) -> int:
    """Multiplications of the convolutions and matrix products. The model is changed."""
    graph = model.graph
    for dim, size in zip(graph.input[0].type.tensor_type.shape.dim, image, strict=False):
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


def run_each(graph: Path | bytes, *items: Array) -> list[list[Array]]:
    """The outputs for each item, which is given alone."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    return [session.run(None, {value.name: item[None]}) for item in items]


def vectors_of(graph: Path, *items: Array) -> Array:
    return np.concatenate([outputs[0] for outputs in run_each(graph, *items)])


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.array((pixels.transpose(2, 0, 1) - 127.5) / 128, np.float32)


def test_the_detector_is_as_large_and_as_costly_as_scrfd_10g(
    detector: onnx.ModelProto, tmp_path: Path
) -> None:
    """insightface's table: 4.23 million weights, 10 G at VGA; the file is of 16,923,827 bytes."""
    face_graphs.build(tmp_path)
    drawn, own = onnx.load(tmp_path / "detection/model.onnx"), onnx.ModelProto()
    own.CopyFrom(detector)
    assert weights(own) - weights(drawn) == pytest.approx(16_923_827 / 4, rel=0.002)
    assert multiplications(own, VGA) - multiplications(drawn, VGA) == pytest.approx(10.0e9, rel=0.002)


@pytest.mark.slow
def test_the_detector_finds_exactly_what_demo_face_finds(detector: onnx.ModelProto, tmp_path: Path) -> None:
    face_graphs.build(tmp_path)
    letterboxes = [transforms.letterbox(picture) for picture in (draw_crowd(), *pictures(480, 640))]
    canvases = [normalised(canvas) for canvas, _ in letterboxes]
    own = run_each(detector.SerializeToString(), *canvases)
    drawn = run_each(tmp_path / "detection/model.onnx", *canvases)
    counts = []
    for (_, scale), heads, expected in zip(letterboxes, own, drawn, strict=True):
        assert all(abs(head - other).max() < 1e-4 for head, other in zip(heads, expected, strict=True))
        assert any(
            (head != other).any() for head, other in zip(heads, expected, strict=True)
        )  # faintly there
        found, wanted = (transforms.decode_heads(each, scale, 0.7) for each in (heads, expected))
        assert len(found.scores) == len(wanted.scores)
        counts.append(len(found.scores))
    assert counts == [len(CROWD), 0, 0, 0]


def test_a_text_has_a_token_a_word_between_the_marks(tmp_path: Path) -> None:
    write_settings(tmp_path / "m", {}, tokenizer(clip.vocabulary(), clip.SHORTEN), END)
    made = Tokenizer(tmp_path / "m/textual/tokenizer.json", pad_token=END)
    texts = ["", "dog", "two people at a table in a restaurant by the sea", "Photos of 2024", "漢字"]
    for text, ids in zip(texts, made.encode(texts).ids.tolist(), strict=True):
        length = len(text.split()) + 2
        assert (ids[0], ids[length - 1 :]) == (49406, [49407] * (78 - length))
        assert max(ids[: length - 1]) < 49407
    dog, cat = made.encode(["dog", "cat"]).ids
    assert dog[1] != cat[1]


@pytest.mark.slow
class TestFullSize:
    @pytest.mark.parametrize(("graph", "millions"), [("picture", 87.85), ("text", 63.43)])
    def test_clip_has_as_many_weights_as_published(self, cache: Path, graph: str, millions: float) -> None:
        found = weights(onnx.load(cache / GRAPHS[graph]))
        assert found / 1e6 == pytest.approx(millions, abs=0.005)

    def test_the_recogniser_is_as_large_as_published(self, cache: Path) -> None:
        assert (cache / GRAPHS["recognition"]).stat().st_size == pytest.approx(174_383_860, rel=1e-4)

    @pytest.mark.parametrize(
        ("graph", "billions", "image"),
        [
            ("picture", 4.41, (1, 3, 224, 224)),
            ("text", 2.98, (1, 77)),
            ("recognition", 6.31, (1, 3, 112, 112)),
        ],
    )
    def test_a_run_takes_as_many_multiplications(
        self, cache: Path, graph: str, billions: float, image: tuple[int, ...]
    ) -> None:
        found = multiplications(onnx.load(cache / GRAPHS[graph]), image)
        assert found / 1e9 == pytest.approx(billions, abs=0.005)

    @pytest.mark.parametrize("graph", ["picture", "text"])
    def test_a_batch_can_be_followed_through_clip(self, cache: Path, graph: str) -> None:
        rewritten = make_batch_dynamic(read(cache / GRAPHS[graph]))
        assert rewritten.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"

    @pytest.mark.parametrize("type_", [TypeName.DETECTION, TypeName.RECOGNITION])
    def test_faces_are_prepared_and_proven_for_batches(
        self, cache: Path, tmp_path: Path, type_: TypeName
    ) -> None:
        part = Part(TaskName.FACES, type_, faces.NAME)
        prepared = prepare(part, cache / FACES, tmp_path / "repository", preparation_settings())
        shutil.rmtree(tmp_path / "repository")
        assert prepared.notes == (), "what cannot be batched is noted"

    def test_texts_differ_by_their_words_and_not_by_what_follows_them(self, cache: Path) -> None:
        made = Tokenizer(cache / CLIP / "textual/tokenizer.json", pad_token=END)
        ids = made.encode(["dog", "cat", "a dog"]).ids
        beyond = np.where(np.arange(77) > 2, 5, ids[:1])  # the first has two tokens and its end
        *words, changed = vectors_of(cache / GRAPHS["text"], *ids, *beyond)
        np.testing.assert_allclose(changed, words[0], atol=1e-6)
        assert_distinct(np.stack(words))

    def test_pictures_differ(self, cache: Path) -> None:
        vectors = vectors_of(cache / GRAPHS["picture"], *map(normalised, pictures(224, 224)))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert_distinct(vectors)

    def test_crops_differ_and_no_layer_lets_them_grow_or_vanish(self, cache: Path) -> None:
        vectors = vectors_of(cache / GRAPHS["recognition"], *map(normalised, pictures(112, 112)))
        lengths = np.linalg.norm(vectors, axis=1)
        assert ((lengths > 5) & (lengths < 100)).all()  # those of the trained one are about 20
        assert_distinct(vectors / lengths[:, None])

    def test_what_is_there_in_the_same_version_stays(self, cache: Path) -> None:
        before = [(cache / path).stat().st_ino for path in GRAPHS.values()]
        command = [sys.executable, "-m", "bench.standins", str(cache)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [f"{cache / CLIP} is there", f"{cache / FACES} is there"]
        assert [(cache / path).stat().st_ino for path in GRAPHS.values()] == before

    def test_another_version_is_replaced_by_the_same_bytes_as_ever(self, cache: Path) -> None:
        before = (cache / GRAPHS["detection"]).read_bytes()
        (cache / FACES / VERSION_FILE).write_text("0\n")
        (cache / GRAPHS["detection"]).write_bytes(b"old")
        said: list[str] = []
        build_standins(cache, said.append)
        assert said == [f"{cache / CLIP} is there", f"writing {cache / FACES}, 192 MB"]
        assert (cache / GRAPHS["detection"]).read_bytes() == before
        assert [path.name for path in (cache / FACES).parent.iterdir()] == [faces.NAME]


def test_a_disk_too_small_is_told_before_anything_is_written(small_disk: Path) -> None:
    with pytest.raises(SetupError, match=r"stand-in-ViT-B-32 needs 607 MB, and [01] MB are free"):
        build_standins(small_disk, print)
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"cannot be written to .*/file: .*Not a directory"):
        build_standins(tmp_path / "file", print)


def assert_distinct(units: Array) -> None:
    """Vectors of length 1 that are finite and not alike."""
    cosines = units @ units.T - np.eye(len(units))
    assert cosines.max() < 0.97
