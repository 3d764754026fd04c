"""Faces: one call to detect, as many to recognise as the crops need, one answer in the detector's order."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapter.errors import EngineUnavailable
from adapter.tasks import Answer, faces
from adapter.triton import Arrays
from tests.support.clock import play
from tests.support.tasks import FakeEngine, as_json, ask

BOTH = {
    "detection": {"modelName": "m", "options": {"minScore": 0.25}},
    "recognition": {"modelName": "m"},
}


def detected(count: int) -> Arrays:
    """What a detector says of a picture of 300 x 451 with so many faces: number n is at (n, 2n)."""
    numbers = np.arange(count, dtype=np.float32)
    corners = np.stack([numbers, 2 * numbers, numbers + 10.4, 2 * numbers + 10.6], axis=1)
    crops = np.zeros((count, 112, 112, 3), np.uint8)
    crops[:, 0, 0] = np.stack([numbers // 256, numbers % 256, numbers * 0], axis=1)
    return {
        "boxes": corners[None],
        "scores": np.linspace(0.9, 0.3, count, dtype=np.float32)[None],
        "landmarks": np.full((1, count, 5, 2), 1.25, np.float32),
        "crops": crops[None],
        "image_size": np.array([[300, 451]], np.int32),
    }


def numbers_of(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The faces that crops show."""
    return crops[:, 0, 0, :2].astype(np.float32) @ np.array([256, 1], np.float32)


def recognised(inputs: Arrays) -> Arrays:
    """Vectors that begin with their faces' numbers."""
    numbers = numbers_of(inputs["crops"])
    return {"embedding": np.stack([numbers, numbers * 0 + 0.5], axis=1)}


def engine(count: int, **options: int) -> FakeEngine:
    return FakeEngine({"detection": lambda _: detected(count), "recognition": recognised}, **options)


def answer(count: int, types: Any = BOTH, **options: int) -> tuple[Answer, FakeEngine]:
    stage = engine(count, **options)
    return play(ask(faces.answer, stage, types, "facial-recognition")), stage


class TestBoth:
    @pytest.mark.parametrize("count", [1, 15, 16, 17, 300])
    def test_crops_are_sent_in_pieces_and_their_vectors_come_back_in_order(self, count: int) -> None:
        found, stage = answer(count, max_batch_size=16)
        pieces = stage.inputs_of("recognition")
        assert [len(piece["crops"]) for piece in pieces] == [16] * (count // 16) + [count % 16] * (
            count % 16 > 0
        )
        value = as_json(found)
        assert [json.loads(face["embedding"])[0] for face in value] == list(range(count))
        assert [face["boundingBox"]["x1"] for face in value] == list(range(count))
        assert found.found == count

    def test_without_faces_the_recogniser_is_neither_asked_nor_loaded(self) -> None:
        found, stage = answer(0)
        assert as_json(found) == []
        assert [part.type for part in stage.loaded] == ["detection"]
        assert (found.found, found.image_size and found.image_size.width) == (0, 451)

    def test_a_face_is_told_in_immichs_words(self) -> None:
        found, _ = answer(1)
        (face,) = as_json(found)
        assert face == {
            "boundingBox": {"x1": 0, "y1": 0, "x2": 10, "y2": 11},
            "embedding": "[0.0,0.5]",
            "score": pytest.approx(0.9, abs=1e-6),
        }
        assert found.image_size is not None
        assert (found.image_size.height, found.image_size.width) == (300, 451)

    def test_picture_and_threshold_go_to_the_detector(self) -> None:
        _, stage = answer(1)
        (inputs,) = stage.inputs_of("detection")
        assert inputs["image"].tolist() == [[b"picture"]]
        assert inputs["min_score"].tolist() == [[0.25]]
        assert inputs["min_score"].dtype == np.float32

    def test_the_threshold_is_immichs_own_where_none_is_given(self) -> None:
        types = {"detection": {"modelName": "m"}, "recognition": {"modelName": "m"}}
        (inputs,) = answer(1, types)[1].inputs_of("detection")
        assert inputs["min_score"].tolist() == [[np.float32(0.7)]]

    def test_the_error_of_one_piece_is_the_answer(self) -> None:
        def fail_on_the_second(inputs: Arrays) -> Arrays:
            if 16 in numbers_of(inputs["crops"]):
                raise EngineUnavailable("out of memory")
            return recognised(inputs)

        stage = FakeEngine({"detection": lambda _: detected(40), "recognition": fail_on_the_second})
        with pytest.raises(EngineUnavailable, match="out of memory"):
            play(ask(faces.answer, stage, BOTH, "facial-recognition"))


class TestDetectionAlone:
    def test_boxes_are_rounded_and_landmarks_are_not(self) -> None:
        found, stage = answer(2, {"detection": {"modelName": "m"}})
        value = as_json(found)
        assert value["boxes"] == [[0, 0, 10, 11], [1, 2, 11, 13]]
        assert value["landmarks"] == [[[1.25, 1.25]] * 5] * 2
        assert value["scores"] == pytest.approx([0.9, 0.3], abs=1e-6)
        assert not stage.inputs_of("recognition")
