"""The demo model, run in-process with our own transforms: a search with it must be visibly right."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from adapter.preparation.graphs.pixels import Normalisation, normalise
from demo.models import place
from demo.models.clip import MEAN, NAME, STD, build
from demo.models.pictures import SAMPLE_QUERIES, sample_pictures
from transforms import images
from transforms.text import Tokenizer

Vector = NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "clip" / NAME
    build(folder)
    return folder


def see(folder: Path, *pictures: NDArray[np.uint8]) -> Vector:
    graph = onnxruntime.InferenceSession(folder / "visual/model.onnx")
    pixels = np.stack([images.clip_pixels(picture, 224) for picture in pictures])
    return np.array(graph.run(None, {"image": normalise(pixels, Normalisation(MEAN, STD))})[0])


def read(folder: Path, *texts: str) -> Vector:
    config = json.loads((folder / "textual/tokenizer_config.json").read_text())
    tokenizer = Tokenizer(folder / "textual/tokenizer.json", pad_token=config["pad_token"])
    graph = onnxruntime.InferenceSession(folder / "textual/model.onnx")
    return np.array(graph.run(None, {"text": tokenizer.encode(texts).ids})[0])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_sample_query_finds_its_picture(folder: Path) -> None:
    names, pictures = zip(*sample_pictures().items(), strict=True)
    queries = [query for query, _ in SAMPLE_QUERIES]
    best = (read(folder, *queries) @ see(folder, *pictures).T).argmax(axis=1)
    assert [(query, names[i]) for query, i in zip(queries, best, strict=True)] == list(SAMPLE_QUERIES)


def test_unknown_words_are_neutral(folder: Path) -> None:
    known, padded = read(folder, "red", "xyzzy red of the qwerty")
    np.testing.assert_array_equal(known, padded)


def test_every_vector_is_of_length_one(folder: Path) -> None:
    texts = read(folder, "", " ", "xyzzy", "!?", "red " * 500)
    for vectors in (texts, see(folder, np.zeros((1, 1, 3), np.uint8), sample_pictures()["snow"])):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_with_the_same_content_is_left_alone(folder: Path) -> None:
    before = folder.stat().st_ino, (folder / "config.json").stat().st_ino
    place(folder, build)
    assert (folder.stat().st_ino, (folder / "config.json").stat().st_ino) == before


def test_an_older_one_is_replaced_by_several_at_once_and_nothing_is_left_over(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / NAME / "visual").mkdir(parents=True)
    (tmp_path / NAME / "visual" / "stale").touch()
    place(tmp_path / NAME, build)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda folder: place(folder, build), [tmp_path / NAME, *[tmp_path / "another"] * 3]))
    assert content(tmp_path / NAME) == content(tmp_path / "another") == content(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", NAME]
