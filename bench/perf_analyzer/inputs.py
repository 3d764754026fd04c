"""What perf_analyzer sends: the file for its option `--input-data`, for each public model."""

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapter.preparation.triton_models.faces import CROP_SIZE
from adapter.protocol import Part, TaskName, TypeName
from bench.scenes import LANDSCAPE, jpeg
from demo.models.pictures import sample_pictures
from demo.show.faces import draw_crowd
from demo.show.page import draw_letter

Row = Mapping[str, object]
TEXTS = ("a dog on the beach", "sunset", "two people at a table in a restaurant", "red car")


def input_data(part: Part) -> dict[str, object]:
    """perf_analyzer's `--input-data` for a public model: a few inputs that it goes through in turn."""
    return {"data": list(_INPUTS[part.task, part.type]())}


def _texts() -> Iterator[Row]:
    for text in TEXTS:
        yield {"text": _element(text.encode()), "language": _element(b"")}


def _pictures() -> Iterator[Row]:
    for pixels in sample_pictures().values():
        yield {"image": _element(_encode(pixels))}


def _crowds() -> Iterator[Row]:
    yield {"image": _element(_encode(draw_crowd())), "min_score": [0.7]}


def _crops() -> Iterator[Row]:
    for pixels in sample_pictures().values():
        yield {"crops": _raw(pixels[:CROP_SIZE, :CROP_SIZE])}


def _pages() -> Iterator[Row]:
    page = _element(_encode(draw_letter()))
    yield {"image": page, "min_score": [0.5], "max_resolution": [736], "score_mode": _element(b"fast")}


def _lines() -> Iterator[Row]:
    lines = draw_letter()[50:110, :1000].reshape(1, 60, 1000, 3)
    yield {"crops": _raw(lines.ravel()), "crop_sizes": _raw(np.array([lines.shape[1:3]], np.int32))}


_INPUTS: Mapping[tuple[TaskName, TypeName], Callable[[], Iterator[Row]]] = {
    (TaskName.CLIP, TypeName.VISUAL): _pictures,
    (TaskName.CLIP, TypeName.TEXTUAL): _texts,
    (TaskName.FACES, TypeName.DETECTION): _crowds,
    (TaskName.FACES, TypeName.RECOGNITION): _crops,
    (TaskName.OCR, TypeName.DETECTION): _pages,
    (TaskName.OCR, TypeName.RECOGNITION): _lines,
}


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    """As a preview: what Immich sends."""
    return jpeg(Image.fromarray(pixels).resize(LANDSCAPE))


def _element(value: bytes) -> dict[str, object]:
    """A BYTES element as perf_analyzer wants it: with Triton's length before it."""
    return {"b64": base64.b64encode(struct.pack("<I", len(value)) + value).decode()}


def _raw(array: NDArray[Any]) -> dict[str, object]:
    """A tensor without its batch axis, as its bytes and its shape."""
    return {"content": {"b64": base64.b64encode(array.tobytes()).decode()}, "shape": list(array.shape)}
