"""Which answers count as the same."""

import json
import math
from typing import Any

import pytest

from adapter.compare.differences import Difference, differ

SIZE = {"imageHeight": 100, "imageWidth": 200}


def clip(*numbers: float) -> dict[str, Any]:
    return {"clip": json.dumps(numbers), **SIZE}


def face(x: float, score: float = 0.8, embedding: str = "[1,0]") -> dict[str, Any]:
    box = {"x1": x, "y1": 5, "x2": x + 20, "y2": 30}
    return {"boundingBox": box, "embedding": embedding, "score": score}


def faces(*found: dict[str, Any]) -> dict[str, Any]:
    return {"facial-recognition": list(found), **SIZE}


def line(text: str, y: float, score: float = 0.9) -> tuple[str, list[float], float]:
    return text, [0.1, y, 0.5, y, 0.5, y + 0.1, 0.1, y + 0.1], score


def lines(*found: tuple[str, list[float], float]) -> dict[str, Any]:
    texts, boxes, scores = [list(column) for column in zip(*found, strict=True)] or ([], [], [])
    flat = [number for box in boxes for number in box]
    return {"ocr": {"text": texts, "box": flat, "boxScore": scores, "textScore": scores}, **SIZE}


def compared(expected: dict[str, Any], answer: dict[str, Any]) -> Difference:
    return differ(json.dumps(expected).encode(), json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (clip(1, 0), clip(1, 0.01)),
        (clip(1, 0), clip(3, 0)),
        (faces(), faces()),
        (faces(face(10), face(60)), faces(face(61), face(10))),
        (lines(line("one", 0.1), line("two", 0.5)), lines(line("two", 0.5), line("one", 0.105))),
    ],
    ids=["near", "longer", "no faces", "faces in another order", "lines in another order"],
)
def test_answers_within_the_tolerances_are_the_same(expected: dict[str, Any], answer: dict[str, Any]) -> None:
    assert compared(expected, answer).words == []


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        (clip(1, 0), clip(1, 0.02), "cosine 0.999800"),
        (clip(1, 0), clip(1, 0, 0), "3 numbers for 2"),
        (clip(1, 0), clip(0, 0), "cosine 0.000000"),
        (clip(1, 0), {"clip": "[1,null]", **SIZE}, "cosine 0.000000"),
        (clip(1, 0), {**clip(1, 0), "imageHeight": 99}, "imageHeight 99 for 100"),
        (clip(1, 0), {"clip": "[1,0]"}, "keys"),
        (clip(1, 0), {"clip": [1, 0], **SIZE}, "answer not understood"),
        (faces(face(10)), faces(), "0 faces for 1, 0 of them the same"),
        (faces(face(10)), faces(face(12)), "box 2.0 px"),
        (faces(face(10)), faces(face(10, 0.81)), "score 0.0100"),
        (faces(face(10)), faces(face(10, embedding="[0,1]")), "cosine 0.000000"),
        (faces(face(10)), faces(face(math.nan)), "not understood"),
        (lines(line("one", 0.1)), lines(line("0ne", 0.1)), 'text "0ne" for "one"'),
        (lines(line("one", 0.1)), lines(), 'text "" for "one"'),
        (lines(line("one", 0.1)), lines(line("one", 0.12)), "box 2.0 px"),
        (lines(line("one", 0.1)), lines(line("one", 0.1, 0.8)), "score 0.1000"),
    ],
)
def test_an_answer_that_is_further_off_is_another_one(
    expected: dict[str, Any], answer: dict[str, Any], said: str
) -> None:
    found = compared(expected, answer).words
    assert any(said in word for word in found), found


def test_the_furthest_of_many_is_named_and_all_are_counted() -> None:
    expected = faces(*(face(x) for x in range(0, 200, 50)))
    answer = faces(*(face(x) for x in (0.2, 50, 101.7, 150)))
    found = compared(expected, answer)
    assert found.words == ["box 1.7 px"]
    assert (len(found.cosines), len(found.boxes_px)) == (4, 4)


def test_what_only_one_side_has_leaves_the_rest_comparable() -> None:
    expected, answer = lines(line("one", 0.1), line("two", 0.5)), lines(line("two", 0.5), line("more", 0.8))
    found = compared(expected, answer)
    assert (found.lines, sorted(found.texts)) == (3, [("", "more"), ("one", "")])
