"""Facial recognition: a picture → its faces, each with a vector; or the detection alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.engine import Engine
from adapter.protocol import Entry, Payload, TypeName
from adapter.tasks import Answer, ImageSize, gather, vector_text
from adapter.triton import Arrays, bytes_tensor


async def answer(engine: Engine, types: Mapping[TypeName, Entry], payload: Payload) -> Answer:
    """The faces of the picture, best first."""
    found = await _detect(engine, types[TypeName.DETECTION], payload)
    size = ImageSize(*map(int, found["image_size"][0]))
    boxes, scores = found["boxes"][0].round(), found["scores"][0]
    recognition = types.get(TypeName.RECOGNITION)
    if recognition is None:
        value: Any = {"boxes": boxes, "scores": scores, "landmarks": found["landmarks"][0]}
    else:
        embeddings = await _recognise(engine, recognition, found["crops"][0])
        value = [_face(*face) for face in zip(boxes, scores, embeddings, strict=True)]
    return Answer(value, size, len(boxes))


async def _detect(engine: Engine, entry: Entry, payload: Payload) -> Arrays:
    assert payload.image is not None
    min_score = np.array([[entry.options.min_score]], np.float32)
    return await engine.infer(entry.part, {"image": bytes_tensor(payload.image), "min_score": min_score})


async def _recognise(engine: Engine, entry: Entry, crops: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Vectors (512,) of the crops (n, 112, 112, 3), asked for in pieces that fit into a batch."""
    if not len(crops):
        return []
    limit = await engine.max_batch_size(entry.part)
    pieces = [crops[start : start + limit] for start in range(0, len(crops), limit)]
    answers = await gather(*(engine.infer(entry.part, {"crops": piece}) for piece in pieces))
    return [embedding for answer in answers for embedding in answer["embedding"]]


def _face(box_xyxy: NDArray[np.float32], score: np.float32, embedding: NDArray[np.float32]) -> dict[str, Any]:
    x1, y1, x2, y2 = box_xyxy
    return {
        "boundingBox": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        "embedding": vector_text(embedding),
        "score": score,
    }
