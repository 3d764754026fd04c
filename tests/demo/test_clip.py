"""The demo model, run in-process with our own transforms: a search with it must be visibly right."""

import json
from collections.abc import Iterable
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


class Clip:
    """A model folder of Immich's cache as two functions."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "textual/tokenizer_config.json").read_text())
        self.visual = onnxruntime.InferenceSession(folder / "visual/model.onnx")
        self.textual = onnxruntime.InferenceSession(folder / "textual/model.onnx")
        self.tokenizer = Tokenizer(folder / "textual/tokenizer.json", pad_token=config["pad_token"])

    def see(self, pictures: Iterable[NDArray[np.uint8]]) -> Vector:
        pixels = np.stack([images.clip_pixels(picture, 224) for picture in pictures])
        vectors: Vector = self.visual.run(
            ["embedding"], {"image": normalise(pixels, Normalisation(MEAN, STD))}
        )[0]
        return vectors

    def read(self, *texts: str) -> Vector:
        vectors: Vector = self.textual.run(["embedding"], {"text": self.tokenizer.encode(texts).ids})[0]
        return vectors

    def best(self, query: str, pictures: dict[str, Vector]) -> str:
        return max(pictures, key=lambda name: float(pictures[name] @ self.read(query)[0]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "clip" / NAME
    build(folder)
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip(folder)


@pytest.fixture(scope="module")
def samples(clip: Clip) -> dict[str, Vector]:
    pictures = sample_pictures()
    return dict(zip(pictures, clip.see(pictures.values()), strict=True))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestSearch:
    def test_every_sample_query_finds_its_picture(self, clip: Clip, samples: dict[str, Vector]) -> None:
        found = {query: clip.best(query, samples) for query, _ in SAMPLE_QUERIES}
        assert found == dict(SAMPLE_QUERIES)

    def test_unknown_words_are_neutral(self, clip: Clip) -> None:
        known, padded = clip.read("red", "xyzzy red of the qwerty")
        np.testing.assert_array_equal(known, padded)


class TestVectors:
    def test_all_are_finite_and_of_length_one(self, clip: Clip, samples: dict[str, Vector]) -> None:
        texts = clip.read("", " ", "xyzzy", "!?", "red " * 500, *(query for query, _ in SAMPLE_QUERIES))
        for vectors in (texts, np.stack(list(samples.values())), clip.see([np.zeros((1, 1, 3), np.uint8)])):
            assert np.isfinite(vectors).all()
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


class TestFolder:
    def test_it_is_the_same_bytes_every_time(self, folder: Path, tmp_path: Path) -> None:
        place(tmp_path / "again", build)
        assert content(tmp_path / "again") == content(folder)

    def test_one_with_the_same_content_is_left_alone(self, folder: Path) -> None:
        before = folder.stat().st_ino, (folder / "config.json").stat().st_ino
        place(folder, build)
        assert (folder.stat().st_ino, (folder / "config.json").stat().st_ino) == before

    def test_several_may_build_it_at_once(self, folder: Path, tmp_path: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda folder: place(folder, build), [tmp_path / NAME] * 4))
        assert content(tmp_path / NAME) == content(folder)

    def test_an_older_one_is_replaced_and_nothing_is_left_over(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / NAME / "visual").mkdir(parents=True)
        (tmp_path / NAME / "visual" / "stale").touch()
        place(tmp_path / NAME, build)
        assert content(tmp_path / NAME) == content(folder)
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
