"""Measures public models with NVIDIA's `perf_analyzer`: writes its input file, loads the model, runs it."""

import asyncio
import base64
import io
import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapter.demo.faces import draw_crowd
from adapter.demo.page import draw_letter
from adapter.errors import SetupError
from adapter.models.demo.pictures import sample_pictures
from adapter.models.faces import CROP_SIZE
from adapter.protocol import Part, TaskName, TypeName
from adapter.service import open_service
from adapter.settings import Settings

SHARED_TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "perf-analyzer"
Row = Mapping[str, object]
TEXTS = ("a dog on the beach", "sunset", "two people at a table in a restaurant", "red car")


def find_binary() -> str:
    """The perf_analyzer of this host.

    Raises:
        SetupError: there is none.
    """
    found = shutil.which("perf_analyzer") or (str(SHARED_TOOL) if SHARED_TOOL.exists() else None)
    if not found:
        raise SetupError("perf_analyzer is not on the PATH. Install it with: pip install perf-analyzer")
    return found


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


async def measure(settings: Settings, parts: Sequence[Part], options: Sequence[str]) -> None:
    """Loads each part and runs perf_analyzer against it; its report goes to the terminal.

    Args:
        options: further options of perf_analyzer, such as `--concurrency-range 1:4`.
    """
    binary = find_binary()
    async with open_service(settings) as service:
        for part in parts:
            prepared = await service.registry.get(part)
            await _run(binary, service.triton.url, prepared.model, input_data(part), options)


async def _run(binary: str, url: str, model: str, data: object, options: Sequence[str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(data, file)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *(binary, "-m", model, "-u", urlsplit(url).netloc, "--input-data", file.name, *options)
        )
        if await process.wait():
            raise SetupError(f"perf_analyzer failed on {model}; its own words are above.")
    sys.stdout.flush()


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    """As a preview: what Immich sends."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((1440, 1080)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _element(value: bytes) -> dict[str, object]:
    """A BYTES element as perf_analyzer wants it: with Triton's length before it."""
    return {"b64": base64.b64encode(struct.pack("<I", len(value)) + value).decode()}


def _raw(array: NDArray[Any]) -> dict[str, object]:
    """A tensor without its batch axis, as its bytes and its shape."""
    return {"content": {"b64": base64.b64encode(array.tobytes()).decode()}, "shape": list(array.shape)}
