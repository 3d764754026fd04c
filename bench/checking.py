"""Whether an answer is right: compared with the answer to the same request sent alone, or with another server's.

The tolerances are those of the golden cases: vectors at cosine 0.9999, boxes within a pixel, scores within 0.001, texts
equal. Faces and lines are paired by where they are, so that their order does not matter.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from adapter.protocol import TaskName

COSINE_LOSS = 1e-4
BOX_PX = 1.01
SCORE = 1e-3
CORNERS = ("x1", "y1", "x2", "y2")

Json = Mapping[str, Any]
Boxes = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Deviation:
    """How far an answer is from another.

    Attributes:
        size: in tolerances: up to 1 is the same answer.
        words: for people: `cosine 0.99998`, `box 0.3 px`, `text "a" for "b"`.
    """

    size: float
    words: str

    @property
    def is_same(self) -> bool:
        return self.size <= 1


SAME = Deviation(0, "the same to the last digit")


def deviation(expected: bytes, answer: bytes) -> Deviation:
    """The furthest that anything in an answer is from where it should be.

    Args:
        expected: a body of `/predict`, for one task.
        answer: another to the same request.
    """
    if expected == answer:
        return SAME
    try:
        return max(_deviations(orjson.loads(expected), orjson.loads(answer)), default=SAME)
    except (KeyError, TypeError, ValueError) as error:
        return _wrong(f"answer not understood: {type(error).__name__}: {error}")


def _deviations(expected: Json, answer: Json) -> Iterator[Deviation]:
    if expected.keys() != answer.keys():
        yield _wrong(f"keys {sorted(answer)} for {sorted(expected)}")
        return
    for key, value in expected.items():
        match key:
            case TaskName.CLIP:
                yield _vector(value, answer[key])
            case TaskName.FACES:
                yield from _faces(value, answer[key])
            case TaskName.OCR:
                size = expected["imageWidth"], expected["imageHeight"]
                yield from _lines(value, answer[key], size)
            case _:
                if value != answer[key]:
                    yield _wrong(f"{key} {answer[key]} for {value}")


def _vector(expected: str, answer: str) -> Deviation:
    one, other = (np.array(orjson.loads(text), np.float64) for text in (expected, answer))
    if one.shape != other.shape:
        return _wrong(f"{other.size} numbers for {one.size}")
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    cosine = float(one @ other) / norms if norms else 0.0
    return _measured(1 - cosine, COSINE_LOSS, f"cosine {cosine:.6f}")


def _faces(expected: Sequence[Json], answer: Sequence[Json]) -> Iterator[Deviation]:
    if len(expected) != len(answer):
        yield _wrong(f"{len(answer)} faces for {len(expected)}")
        return
    boxes, others = (
        np.array([[face["boundingBox"][corner] for corner in CORNERS] for face in faces], np.float64)
        for faces in (expected, answer)
    )
    for index, other, box in _paired(boxes, others):
        yield box
        yield _score(expected[index]["score"], answer[other]["score"])
        yield _vector(expected[index]["embedding"], answer[other]["embedding"])


def _lines(expected: Json, answer: Json, size: tuple[int, int]) -> Iterator[Deviation]:
    texts, other_texts = expected["text"], answer["text"]
    if len(texts) != len(other_texts):
        yield _wrong(f"{len(other_texts)} lines for {len(texts)}")
        return
    boxes, others = (
        (np.array(found["box"], np.float64).reshape(-1, 4, 2) * size).reshape(-1, 8)
        for found in (expected, answer)
    )
    for index, other, box in _paired(boxes, others):
        yield box
        if texts[index] != other_texts[other]:
            yield _wrong(f'text "{other_texts[other]}" for "{texts[index]}"')
        yield _score(expected["textScore"][index], answer["textScore"][other])


def _paired(boxes: Boxes, others: Boxes) -> Iterator[tuple[int, int, Deviation]]:
    """Each box (n, k) with the nearest one that is left, in pixels."""
    left = list(range(len(others)))
    for index, box in enumerate(boxes):
        distances = np.abs(others[left] - box).max(axis=1)
        other, distance = left.pop(int(distances.argmin())), float(distances.min())
        yield index, other, _measured(distance, BOX_PX, f"box {distance:.1f} px")


def _score(expected: float, answer: float) -> Deviation:
    distance = abs(expected - answer)
    return _measured(distance, SCORE, f"score {distance:.4f}")


def _measured(distance: float, tolerance: float, words: str) -> Deviation:
    return (
        Deviation(distance / tolerance, words)
        if math.isfinite(distance)
        else _wrong("a number is not finite")
    )


def _wrong(words: str) -> Deviation:
    return Deviation(math.inf, words)
