"""How far an answer is from another to the same request.

Faces and lines are paired by where they are, so that their order does not matter. The tolerances within which two
answers are the same: vectors at cosine 0.9999, corners of boxes within a pixel, scores within 0.001, texts equal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from adapter.protocol import TaskName

COSINE = 0.9999
BOX_PX = 1.01
SCORE = 0.001
OVERLAP = 0.5
"""Intersection by union from which two boxes are of the same face or line."""

Json = Mapping[str, Any]
Boxes = NDArray[np.float64]


@dataclass
class Difference:
    """What was found.

    Attributes:
        cosines: of every pair of vectors.
        boxes_px: of every pair of boxes, how far apart their furthest corners are.
        scores: of every pair, the distance.
        lines: how many lines of text there are on either side.
        texts: (expected, answered) of the lines that differ; empty where one side has none.
        faults: whatever else differs, in words.
    """

    cosines: list[float] = field(default_factory=list)
    boxes_px: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    lines: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """What is beyond a tolerance; nothing for the same answer."""
        beyond = list(self.faults)
        if self.cosines and min(self.cosines) < COSINE:
            beyond.append(f"cosine {min(self.cosines):.6f}")
        if self.boxes_px and not max(self.boxes_px) <= BOX_PX:
            beyond.append(f"box {max(self.boxes_px):.1f} px")
        if self.scores and not max(self.scores) <= SCORE:
            beyond.append(f"score {max(self.scores):.4f}")
        return beyond + [f'text "{answered}" for "{expected}"' for expected, answered in self.texts]


def differ(expected: bytes, answer: bytes) -> Difference:
    """How an answer differs from the expected one; both are bodies of `/predict` for one task."""
    found = Difference()
    try:
        _compare(orjson.loads(expected), orjson.loads(answer), found)
    except (KeyError, TypeError, ValueError) as error:
        found.faults.append(f"answer not understood: {type(error).__name__}: {error}")
    return found


def _compare(expected: Json, answer: Json, found: Difference) -> None:
    if expected.keys() != answer.keys():
        found.faults.append(f"keys {sorted(answer)} for {sorted(expected)}")
        return
    for key, value in expected.items():
        match key:
            case TaskName.CLIP:
                _vectors(value, answer[key], found)
            case TaskName.FACES:
                _faces(value, answer[key], found)
            case TaskName.OCR:
                _lines(value, answer[key], (expected["imageWidth"], expected["imageHeight"]), found)
            case _ if value != answer[key]:
                found.faults.append(f"{key} {answer[key]} for {value}")


def _vectors(expected: str, answer: str, found: Difference) -> None:
    one, other = (np.array(orjson.loads(text), np.float64) for text in (expected, answer))
    cosine = 0.0
    if one.shape != other.shape:
        found.faults.append(f"{other.size} numbers for {one.size}")
    elif norms := float(np.linalg.norm(one) * np.linalg.norm(other)):
        cosine = float(one @ other) / norms
    found.cosines.append(cosine if math.isfinite(cosine) else 0.0)  # a null becomes a NaN


def _faces(expected: Sequence[Json], answer: Sequence[Json], found: Difference) -> None:
    boxes, others = (np.array([_corners(face) for face in faces], float) for faces in (expected, answer))
    pairs = _pairs(boxes, others)
    if not len(pairs) == len(expected) == len(answer):
        found.faults.append(f"{len(answer)} faces for {len(expected)}, {len(pairs)} of them the same")
    for i, j in pairs:
        found.boxes_px.append(float(np.abs(boxes[i] - others[j]).max()))
        found.scores.append(abs(expected[i]["score"] - answer[j]["score"]))
        _vectors(expected[i]["embedding"], answer[j]["embedding"], found)


def _corners(face: Json) -> list[float]:
    return [face["boundingBox"][corner] for corner in ("x1", "y1", "x2", "y2")]


def _lines(expected: Json, answer: Json, size: tuple[int, int], found: Difference) -> None:
    quads, others = (np.array(lines["box"], float).reshape(-1, 4, 2) * size for lines in (expected, answer))
    upright, others_upright = (
        np.concatenate([each.min(axis=1), each.max(axis=1)], axis=1) for each in (quads, others)
    )
    pairs = _pairs(upright, others_upright)
    for i, j in pairs:
        found.boxes_px.append(float(np.abs(quads[i] - others[j]).max()))
        found.scores.append(abs(expected["textScore"][i] - answer["textScore"][j]))
    texts = [(expected["text"][i], answer["text"][j]) for i, j in pairs]
    texts += [(expected["text"][i], "") for i in set(range(len(quads))) - {i for i, _ in pairs}]
    texts += [("", answer["text"][j]) for j in set(range(len(others))) - {j for _, j in pairs}]
    found.lines += len(texts)
    found.texts += [(one, other) for one, other in texts if one != other]


def _pairs(boxes: Boxes, others: Boxes) -> list[tuple[int, int]]:
    """Indices of the boxes (n, 4) and others (m, 4) that cover the same place: the best overlaps first."""
    if not len(boxes) or not len(others):
        return []
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])  # (n, m, 2)
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    overlap = shared / np.maximum(areas[:, None] + other_areas[None] - shared, 1e-9)
    if not np.isfinite(overlap).all():
        raise ValueError("a corner is no finite number")
    pairs: list[tuple[int, int]] = []
    while overlap.max() >= OVERLAP:
        i, j = (int(index) for index in np.unravel_index(overlap.argmax(), overlap.shape))
        pairs.append((i, j))
        overlap[i], overlap[:, j] = 0, 0
    return sorted(pairs)
