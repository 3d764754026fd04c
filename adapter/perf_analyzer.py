"""Measures public models with NVIDIA's `perf_analyzer`: writes its input file, loads the model, runs it."""

import asyncio
import base64
import io
import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from adapter.errors import SetupError
from adapter.models.demo.pictures import sample_pictures
from adapter.protocol import Part, TypeName
from adapter.service import open_service
from adapter.settings import Settings

SHARED_TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "perf-analyzer"
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
    """perf_analyzer's `--input-data` for a public model: a few pictures or texts that it goes through in turn."""
    if part.type is TypeName.TEXTUAL:
        return {"data": [{"text": _content(text.encode()), "language": _content(b"")} for text in TEXTS]}
    return {"data": [{"image": _content(_encode(pixels))} for pixels in sample_pictures().values()]}


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


def _encode(pixels: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((1440, 1080)).save(buffer, "JPEG", quality=80)  # type: ignore[arg-type]
    return buffer.getvalue()


def _content(value: bytes) -> dict[str, str]:
    """A BYTES element as perf_analyzer wants it: with Triton's length before it."""
    return {"b64": base64.b64encode(struct.pack("<I", len(value)) + value).decode()}
