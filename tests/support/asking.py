"""What the demo's models are asked, as Immich asks for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.preparation.catalog import can_be_built
from adapter.protocol import TaskName
from demo.models import clip, face_graphs, ocr
from demo.models.faces import IDENTITIES, draw_face
from demo.models.pictures import sample_pictures
from demo.show.page import draw_letter
from tests.support.pictures import encode

MOST_FACES = 8
LEMON = encode(sample_pictures()["lemon"], "JPEG")


def clip_entries(kind: str, name: str = clip.NAME) -> dict[str, Any]:
    """Of a picture (`visual`) or a text (`textual`)."""
    return {"clip": {kind: {"modelName": name}}}


def face_entries(min_score: float = 0.7, *types: str) -> dict[str, Any]:
    parts = {"detection": {"options": {"minScore": min_score}}, "recognition": {}}
    return {
        "facial-recognition": {
            name: {"modelName": face_graphs.NAME, **parts[name]} for name in types or parts
        }
    }


def ocr_entries(*types: str, **detection: Any) -> dict[str, Any]:
    parts = {"detection": {"options": detection}, "recognition": {"options": {"minScore": 0.8}}}
    return {"ocr": {name: {"modelName": ocr.NAME, **parts[name]} for name in types or parts}}


def photo(number: int) -> bytes:
    """A drawn photo with 0 to 8 faces."""
    rng = np.random.default_rng(number)
    canvas: NDArray[np.uint8] = np.full((720, 1280, 3), rng.integers(40, 200), np.uint8)
    for face in range(number % (MOST_FACES + 1)):
        center = (160 + 320 * (face % 4), 180 + 360 * (face // 4))
        draw_face(canvas, center, float(rng.uniform(120, 260)), int(rng.integers(IDENTITIES)))
    return encode(canvas, "JPEG")


EVERYTHING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (clip_entries("visual"), {"image": LEMON}),
    (clip_entries("textual"), {"text": "yellow"}),
    (face_entries(), {"image": photo(3)}),
    *([(ocr_entries(), {"image": encode(draw_letter(), "JPEG")})] if can_be_built(TaskName.OCR) else []),
]
"""One request of each kind: entries and payload."""
