"""The demo: the whole stack as a user starts it, shown at work; needs no download."""

import json
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapter.compare.client import Service
from adapter.compare.pictures import preview
from adapter.compare.workload import Kind, Request


async def ask(
    service: Service,
    kind: Kind,
    model: str,
    picture: NDArray[np.uint8] | None = None,
    text: str | None = None,
) -> tuple[dict[str, Any], str]:
    """The answer, and how long it took. Raises `SetupError` where it is an error."""
    image = None if picture is None else preview(Image.fromarray(picture))
    started = time.perf_counter()
    body = await service.answer(Request(kind, kind, model, image, text))
    return json.loads(body), f"{(time.perf_counter() - started) * 1000:.0f} ms"
