"""`immich-triton predict`: asks a running server, as Immich does."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from rich.table import Table

from adapter.errors import SetupError
from adapter.protocol import TaskName, TypeName

DEFAULT_MODELS: Mapping[TaskName, str] = {
    TaskName.CLIP: "ViT-B-32__openai",
    TaskName.FACES: "buffalo_l",
    TaskName.OCR: "PP-OCRv5_mobile",
}
SHOWN_NUMBERS = 6


def entries(task: TaskName, model: str, *, text: bool) -> dict[str, Any]:
    """The `entries` of a request for one task."""
    if task is TaskName.CLIP:
        types = [TypeName.TEXTUAL if text else TypeName.VISUAL]
    else:
        types = [TypeName.DETECTION, TypeName.RECOGNITION]
    return {task: {kind: {"modelName": model} for kind in types}}


async def ask(url: str, wanted: Mapping[str, Any], image: bytes | None, text: str | None) -> dict[str, Any]:
    """The server's answer.

    Raises:
        SetupError: it cannot be reached, or answers with an error.
    """
    form = aiohttp.FormData()
    form.add_field("entries", json.dumps(wanted))
    if image is not None:
        form.add_field("image", image, filename="blob")
    else:
        form.add_field("text", text or "")
    try:
        async with (
            aiohttp.ClientSession(url.rstrip("/") + "/") as session,
            session.post("predict", data=form) as response,
        ):
            body = await response.text()
    except aiohttp.ClientError as error:
        raise SetupError(f"no answer from {url}: {error}") from error
    if response.status != 200:
        raise SetupError(f"{url} answered {response.status}: {body}")
    answer: dict[str, Any] = json.loads(body)
    return answer


def tables(answer: Mapping[str, Any]) -> list[Table]:
    """An answer for people."""
    shown = []
    if vector := answer.get(TaskName.CLIP):
        numbers = json.loads(vector)
        table = Table("dimensions", "first numbers", title="CLIP vector")
        table.add_row(str(len(numbers)), ", ".join(f"{number:.4f}" for number in numbers[:SHOWN_NUMBERS]))
        shown.append(table)
    if (faces := answer.get(TaskName.FACES)) is not None:
        table = Table("face", "x1", "y1", "x2", "y2", "score", title=f"{len(faces)} faces")
        for number, face in enumerate(faces, 1):
            corners = [f"{face['boundingBox'][key]:.0f}" for key in ("x1", "y1", "x2", "y2")]
            table.add_row(str(number), *corners, f"{face['score']:.3f}")
        shown.append(table)
    if lines := answer.get(TaskName.OCR):
        table = Table("line", "text", "score", title=f"{len(lines['text'])} lines")
        for number, (line, score) in enumerate(zip(lines["text"], lines["textScore"], strict=True), 1):
            table.add_row(str(number), line, f"{score:.3f}")
        shown.append(table)
    return shown
