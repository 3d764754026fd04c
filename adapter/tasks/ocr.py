"""Text in pictures: a picture → its lines, each with its box and its text; or the detection alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter.engine import Engine
from adapter.protocol import Entry, Payload, TypeName
from adapter.tasks import Answer, ImageSize, gather
from adapter.triton import Arrays, bytes_tensor
from transforms.reading_order import reading_order

CHANNELS = 3


async def answer(engine: Engine, types: Mapping[TypeName, Entry], payload: Payload) -> Answer:
    """The lines of the picture, in reading order."""
    detection = types.get(TypeName.DETECTION)
    if detection is None:
        return Answer(None)
    found = await _detect(engine, detection, payload)
    size = ImageSize(*map(int, found["image_size"][0]))
    boxes, scores = found["boxes"][0], found["scores"][0]
    recognition = types.get(TypeName.RECOGNITION)
    if recognition is None:
        return Answer({"boxes": boxes, "scores": scores}, size, len(boxes))
    texts, text_scores = await _recognise(engine, recognition, found)
    kept = np.flatnonzero(text_scores > recognition.options.min_score)
    kept = kept[reading_order(boxes[kept])]  # a line that is dropped may have joined two rows
    value = {
        "text": [texts[line] for line in kept],
        "box": (boxes[kept] / np.array([size.width, size.height], np.float32)).ravel(),
        "boxScore": scores[kept],
        "textScore": text_scores[kept],
    }
    return Answer(value, size, len(kept))


async def _detect(engine: Engine, entry: Entry, payload: Payload) -> Arrays:
    assert payload.image is not None
    options = entry.options
    return await engine.infer(
        entry.part,
        {
            "image": bytes_tensor(payload.image),
            "min_score": np.array([[options.min_score]], np.float32),
            "max_resolution": np.array([[options.max_resolution]], np.int32),
            "score_mode": bytes_tensor(options.score_mode.encode()),
        },
    )


async def _recognise(engine: Engine, entry: Entry, found: Arrays) -> tuple[list[str], NDArray[np.float32]]:
    """Texts and scores (n,) of the lines, group by group, all groups at once."""
    sizes, groups = found["crop_sizes"][0], found["groups"][0]
    starts = np.concatenate([[0], np.cumsum(sizes.prod(axis=1) * CHANNELS)])
    members = [np.flatnonzero(groups == number) for number in np.unique(groups)]
    answers = await gather(
        *(engine.infer(entry.part, _group(found["crops"][0], sizes, starts, lines)) for lines in members)
    )
    texts, scores = [""] * len(sizes), np.zeros(len(sizes), np.float32)
    for lines, read in zip(members, answers, strict=True):
        for line, text, score in zip(lines, read["text"], read["score"], strict=True):
            texts[line], scores[line] = text.decode(), score
    return texts, scores


def _group(
    crops: NDArray[np.uint8], sizes: NDArray[np.int32], starts: NDArray[Any], lines: NDArray[np.intp]
) -> Arrays:
    """The tensors of one group: its lines' pixels end to end, and their sizes."""
    pixels = [crops[starts[line] : starts[line + 1]] for line in lines]
    return {"crops": np.concatenate(pixels), "crop_sizes": sizes[lines]}
