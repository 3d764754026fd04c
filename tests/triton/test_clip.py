"""CLIP through the real Triton: batches, bad pictures among good ones, and the demo model."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from demo.models.clip import NAME
from tests.support.pictures import encode
from tests.support.server import Server
from transforms.text import Tokenizer

pytestmark = pytest.mark.triton


def pictures(count: int) -> list[bytes]:
    rng = np.random.default_rng(1)
    fields = rng.integers(0, 256, (count, 6, 8, 3), np.uint8)
    return [encode(field.repeat(60 + index, 0).repeat(60, 1), "JPEG") for index, field in enumerate(fields)]


def test_pictures_sent_at_once_get_the_vectors_of_pictures_sent_alone(server: Server) -> None:
    sent = pictures(64)
    alone = [server.clip(NAME, image) for image in sent]
    with ThreadPoolExecutor(16) as pool:
        together = server.until_batched(
            lambda: list(pool.map(lambda image: server.clip(NAME, image), sent)),
            f"{NAME}.visual.preprocess",
            f"{NAME}.visual.encoder",
        )
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_texts_sent_at_once_get_the_vectors_of_texts_sent_alone(server: Server) -> None:
    texts = [f"{shade} {color}" for shade in ("dark", "light", "very") for color in ("red", "blue", "green")]
    alone = [server.clip(NAME, text=text) for text in texts]
    with ThreadPoolExecutor(9) as pool:
        together = list(pool.map(lambda text: server.clip(NAME, text=text), texts))
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_texts_of_all_lengths_sent_at_once_get_the_vectors_of_full_length(
    server: Server, shared: Path
) -> None:
    name = "ViT-T-32__small"
    folder = shared / "models/clip" / name / "textual"
    tokenizer = Tokenizer(folder / "tokenizer.json", pad_token="<|endoftext|>")
    original = onnxruntime.InferenceSession(folder / "model.onnx")
    words = "a small red dog on the beach of an island with many palm trees at noon".split()
    texts = [
        " ".join((words * 6)[:count]) for count in (1, 70, 3, 20, 8, 35, 9, 90, 2, 18, 19, 38, 5, 75, 7, 16)
    ]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: server.clip(name, text=text), texts * 3))
    expected = [original.run(None, {"text": tokenizer.encode([text]).ids})[0][0] for text in texts]
    np.testing.assert_allclose(found, expected * 3, atol=1e-5)


def test_one_bad_picture_among_eight_fails_alone(server: Server) -> None:
    sent = pictures(8)
    alone = [server.clip(NAME, image) for image in sent]
    sent[3] = sent[3][: len(sent[3]) // 2]
    entries = {"clip": {"visual": {"modelName": NAME}}}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            answers = list(pool.map(lambda image: server.predict(entries, image), sent))
            assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 200, 200, 200, 200]
            assert "truncated" in answers[3].json()["detail"]
    with ThreadPoolExecutor(8) as pool:
        good = sent[:3] + sent[4:]
        together = list(pool.map(lambda image: server.clip(NAME, image), good))
    np.testing.assert_allclose(together, alone[:3] + alone[4:], atol=1e-4)


def test_an_unknown_model_is_refused_with_near_names(server: Server) -> None:
    answer = server.predict({"clip": {"textual": {"modelName": "ViT-B-32__opnai"}}}, text="x")
    assert answer.status_code == 422
    assert "ViT-B-32__openai" in answer.json()["detail"]


def test_a_known_model_that_is_not_there_is_unavailable(server: Server) -> None:
    answer = server.predict({"clip": {"textual": {"modelName": "ViT-B-32__openai"}}}, text="x")
    assert answer.status_code == 503
    assert "cannot be fetched" in answer.json()["detail"]
