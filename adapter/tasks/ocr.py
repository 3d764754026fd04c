"""Text in pictures: a picture → its lines, each with its box and its text; or the detection alone."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from adapter.engine import Engine
from adapter.protocol import Entry, Payload, TypeName
from adapter.tasks import Answer, ImageSize, gather
from adapter.triton import Arrays, bytes_tensor

Lines = NDArray[np.intp]
"""Which lines of a picture."""


async def answer(engine: Engine, types: Mapping[TypeName, Entry], payload: Payload) -> Answer:
    """The lines of the picture, in reading order."""
    found = await _detect(engine, types[TypeName.DETECTION], payload)
    size = ImageSize(*map(int, found["image_size"][0]))
    boxes, scores = found["boxes"][0], found["scores"][0]
    recognition = types.get(TypeName.RECOGNITION)
    if recognition is None:
        return Answer({"boxes": boxes, "scores": scores}, size, len(boxes))
    texts, text_scores = await _recognise(engine, recognition, found)
    kept = np.flatnonzero(text_scores > recognition.options.min_score)
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
        },
    )


async def _recognise(engine: Engine, entry: Entry, found: Arrays) -> tuple[list[str], NDArray[np.float32]]:
    """Texts and scores (n,) of the lines: all at once, those of one width in one request as far as they may."""
    count = len(found["widths"][0])
    texts, scores = [""] * count, np.zeros(count, np.float32)
    if not count:
        return texts, scores
    groups = list(_groups(found["run_widths"][0], await engine.max_batch_size(entry.part)))
    answers = await gather(*(engine.infer(entry.part, _padded(found, lines)) for lines in groups))
    for lines, read in zip(groups, answers, strict=True):
        for line, text, score in zip(lines, read["text"][:, 0], read["score"][:, 0], strict=True):
            texts[line], scores[line] = text.decode(), score
    return texts, scores


def _groups(run_widths: NDArray[np.int32], limit: int) -> Iterator[Lines]:
    """Lines of one width, up to `limit`. The widest come first: what takes longest is not to be waited for at last."""
    for width in np.unique(run_widths)[::-1]:
        lines = np.flatnonzero(run_widths == width)
        yield from np.split(lines, range(limit, len(lines), limit))


def _padded(found: Arrays, lines: Lines) -> Arrays:
    """The tensors of some lines of one width: their pixels, and what of them is not padding."""
    pixels, widths = found["lines"][0], found["widths"][0]  # (48, all of them side by side, 3), (n,)
    height, _, channels = pixels.shape
    ends = np.cumsum(widths)
    padded = np.zeros((len(lines), height, found["run_widths"][0][lines[0]], channels), np.uint8)
    for target, line in zip(padded, lines, strict=True):
        target[:, : widths[line]] = pixels[:, ends[line] - widths[line] : ends[line]]
    return {"lines": padded, "widths": widths[lines, np.newaxis]}
