"""Faces through the real Triton: batches across photos, and everyone's own settings."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapter.triton import Triton
from demo.models.face_graphs import NAME
from demo.models.faces import IDENTITIES, draw_face
from tests.support.asking import MOST_FACES, face_entries, photo
from tests.support.pictures import encode
from tests.support.server import Server

pytestmark = pytest.mark.triton

PHOTOS = 32


def executions(server: Server, step: str) -> int:
    return int(server.statistics(f"{NAME}.{step}")["execution_count"])


def test_photos_sent_at_once_have_exactly_the_faces_of_photos_sent_alone(server: Server) -> None:
    photos = [photo(number) for number in range(PHOTOS)]
    alone = [server.predict(face_entries(), image).json() for image in photos]
    counts = [len(answer["facial-recognition"]) for answer in alone]
    assert counts == [number % (MOST_FACES + 1) for number in range(PHOTOS)]
    with ThreadPoolExecutor(16) as pool:
        together = server.until_batched(
            lambda: list(pool.map(lambda image: server.predict(face_entries(), image).json(), photos)),
            f"{NAME}.detection.preprocess",
        )
    for one, other in zip(alone, together, strict=True):
        assert_same_faces(one, other)


def test_crops_of_several_photos_are_recognised_in_one_batch(server: Server) -> None:
    server.predict(face_entries(), photo(1))
    crops = np.random.default_rng(0).integers(0, 256, (PHOTOS, 3, 112, 112, 3), np.uint8)
    alone = [vectors for each in crops for vectors in asyncio.run(recognise(server, each))]
    together = server.until_batched(
        lambda: asyncio.run(recognise(server, *crops)), f"{NAME}.recognition.encoder"
    )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


async def recognise(server: Server, *photos: NDArray[np.uint8]) -> list[Any]:
    """The vectors of each photo's crops (3, 112, 112, 3), which are asked for at once."""
    triton = Triton(server.triton_url, timeout_s=60)
    try:
        answers = [triton.infer(f"{NAME}.recognition", {"crops": crops}) for crops in photos]
        return [answer["embedding"] for answer in await asyncio.gather(*answers)]
    finally:
        await triton.close()


def assert_same_faces(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (one["imageHeight"], one["imageWidth"]) == (other["imageHeight"], other["imageWidth"])
    for first, second in zip(one["facial-recognition"], other["facial-recognition"], strict=True):
        assert first["boundingBox"] == second["boundingBox"]
        assert first["score"] == pytest.approx(second["score"], abs=1e-5)
        vector, again = (np.array(json.loads(face["embedding"])) for face in (first, second))
        np.testing.assert_allclose(again, vector, atol=1e-4 * float(np.linalg.norm(vector)))


def test_requests_with_different_settings_do_not_influence_each_other(server: Server) -> None:
    image = photo(8)
    thresholds = [0.1, 0.9999] * 20
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda score: server.predict(face_entries(score), image).json(), thresholds))
    counts = [len(answer["facial-recognition"]) for answer in answers]
    assert set(counts[::2]) == {8}
    assert set(counts[1::2]) == {0}


def test_more_faces_than_fit_into_a_batch_are_recognised_in_pieces(server: Server) -> None:
    canvas: NDArray[np.uint8] = np.full((640, 640, 3), 90, np.uint8)
    for place in range(64):
        draw_face(canvas, (40 + 80 * (place % 8), 40 + 80 * (place // 8)), 44, place % IDENTITIES)
    answer = server.predict(face_entries(), encode(canvas, "JPEG")).json()
    faces = answer["facial-recognition"]
    assert len(faces) > 16, "more than a batch"
    scores = [face["score"] for face in faces]
    assert scores == sorted(scores, reverse=True)


def test_detection_alone_is_answered_in_lists(server: Server) -> None:
    found = server.predict(face_entries(0.7, "detection"), photo(3)).json()["facial-recognition"]
    assert [len(found[key]) for key in ("boxes", "scores", "landmarks")] == [3, 3, 3]
    assert np.shape(found["landmarks"]) == (3, 5, 2)


def test_a_photo_without_faces_makes_no_recognition_call(server: Server) -> None:
    server.predict(face_entries(), photo(1))
    before = executions(server, "recognition.encoder")
    assert server.predict(face_entries(), photo(0)).json()["facial-recognition"] == []
    assert executions(server, "recognition.encoder") == before


def test_a_bad_photo_is_refused_with_the_fault(server: Server) -> None:
    answer = server.predict(face_entries(), photo(2)[:5000])
    assert (answer.status_code, "truncated" in answer.json()["detail"]) == (400, True)
