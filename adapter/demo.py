"""The demo: starts the whole stack as a user does, sends pictures and texts as Immich does, shows what is found."""

import asyncio
import io
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from adapter.embedded import free_port
from adapter.errors import SetupError
from adapter.models.demo import NAME, SAMPLE_QUERIES, sample_pictures

START_TIMEOUT_S = 120
SHOWN = 3

Vector = NDArray[np.float32]


async def run(url: str | None) -> None:
    """Shows a search among drawn pictures.

    Args:
        url: of a running service; one is started otherwise, and stopped at the end.

    Raises:
        SetupError: the service cannot be started, or does not answer as it should.
    """
    console = Console()
    async with _service(url, console) as base, aiohttp.ClientSession(base) as session:
        pictures = await _encode_pictures(session, console)
        await _search(session, pictures, console)


async def _encode_pictures(session: aiohttp.ClientSession, console: Console) -> dict[str, Vector]:
    table = Table("picture", "size", "ms", title=f"Pictures, encoded by {NAME}")
    vectors = {}
    for name, pixels in sample_pictures().items():
        answer, ms = await _predict(session, {"visual": {"modelName": NAME}}, {"image": _jpeg(pixels)})
        vectors[name] = _vector(answer)
        table.add_row(name, f"{answer['imageWidth']} x {answer['imageHeight']}", f"{ms:.0f}")
    console.print(table)
    return vectors


async def _search(session: aiohttp.ClientSession, pictures: Mapping[str, Vector], console: Console) -> None:
    table = Table(
        "text", *(f"{place + 1}." for place in range(SHOWN)), "ms", title="Texts, and what they find"
    )
    right = 0
    for text, expected in SAMPLE_QUERIES:
        answer, ms = await _predict(session, {"textual": {"modelName": NAME}}, {"text": text})
        ranking = rank(_vector(answer), pictures)
        right += ranking[0][0] == expected
        table.add_row(text, *(f"{name} {score:.2f}" for name, score in ranking[:SHOWN]), f"{ms:.0f}")
    console.print(table)
    console.print(f"{right} of {len(SAMPLE_QUERIES)} texts find the picture that they describe.")
    if right < len(SAMPLE_QUERIES):
        raise SetupError("the search is not as it should be")


def rank(text: Vector, pictures: Mapping[str, Vector]) -> list[tuple[str, float]]:
    """The pictures by cosine to the text, best first. All vectors (D,) are of length 1."""
    scores = {name: float(vector @ text) for name, vector in pictures.items()}
    return sorted(scores.items(), key=lambda item: -item[1])


async def _predict(
    session: aiohttp.ClientSession, types: Mapping[str, object], payload: Mapping[str, str | bytes]
) -> tuple[dict[str, str], float]:
    form = aiohttp.FormData()
    form.add_field("entries", json.dumps({"clip": types}))
    for name, value in payload.items():
        form.add_field(name, value, filename="blob" if isinstance(value, bytes) else None)
    started = time.perf_counter()
    async with session.post("predict", data=form) as response:
        answer: dict[str, str] = await response.json()
        if response.status != 200:
            raise SetupError(f"the service answered {response.status}: {answer.get('detail')}")
    return answer, (time.perf_counter() - started) * 1000


@asynccontextmanager
async def _service(url: str | None, console: Console) -> AsyncIterator[str]:
    if url:
        yield url.rstrip("/") + "/"
        return
    port = free_port()
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "adapter", "serve", "--host", "127.0.0.1", "--port", str(port)]
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            with console.status("starting Triton and the adapter ..."):
                await _until_ready(process, f"http://127.0.0.1:{port}/", log)
            console.print(f"The service runs on http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}/"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _until_ready(process: asyncio.subprocess.Process, url: str, log: io.IOBase) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession(url) as session:
        while process.returncode is None:
            try:
                async with session.get("ping") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    log.seek(0)
    raise SetupError(f"the service did not start:\n{log.read().decode(errors='replace')[-2000:]}")


def _vector(answer: Mapping[str, str]) -> Vector:
    return np.array(json.loads(answer["clip"]), np.float32)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
