"""Reading `/predict`'s form: into memory only, with a limit that is enforced while reading."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from starlette.formparsers import FormParser, MultiPartException
from starlette.requests import Request

from adapter.errors import BadInput, BodyStopped, BodyTooLarge
from adapter.multipart import Fields, read_multipart
from adapter.protocol import Payload

SILENCE_S = 30.0
"""A client that sends nothing for so long is gone. (A packet that is lost again and again is late by half of it.)"""


@dataclass(frozen=True)
class Form:
    """The fields of a prediction request, and the size of the body in bytes."""

    entries: str
    payload: Payload
    size: int


MakeRoom = Callable[[int], Awaitable[None]]
"""Waits until memory may hold so many bytes more."""


def check_declared_size(request: Request, limit: int) -> None:
    """Raises `BodyTooLarge` where the client says that its body is over the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(f"The body has {declared} bytes; the limit is {limit}.")


async def read_form(request: Request, limit: int, make_room: MakeRoom) -> Form:
    """Reads and checks the form.

    Args:
        limit: of the body, in bytes.
        make_room: called with each piece of it.

    Raises:
        RequestValidationError: `entries` is missing, or a field has the wrong kind (422, as FastAPI says it).
        BodyTooLarge: more than `limit` bytes.
        BodyStopped: the rest of it does not come.
        BadInput: no form, or neither a picture nor a text in it.
    """
    body = _Body(request, limit, make_room)
    fields = await _parse(request, body.chunks())
    entries, image, text = fields.get("entries"), fields.get("image"), fields.get("text")
    if not isinstance(entries, str) or not entries:
        raise RequestValidationError([_fault("entries", "missing", "Field required")])
    if isinstance(image, str):
        raise RequestValidationError([_fault("image", "value_error", "Expected a file, not a plain field")])
    if isinstance(text, bytes):
        raise RequestValidationError([_fault("text", "string_type", "Input should be a valid string")])
    if image is not None:
        return Form(entries, Payload(image=image), body.size)
    if not text:
        raise BadInput("Either image or text must be provided")
    return Form(entries, Payload(text=text), body.size)


async def _parse(request: Request, chunks: AsyncGenerator[bytes, None]) -> Fields:
    content_type = request.headers.get("content-type", "")
    match content_type.partition(";")[0].strip().lower():
        case "multipart/form-data":
            return await read_multipart(content_type, chunks)
        case "application/x-www-form-urlencoded":
            return await _read_urlencoded(request, chunks)
        case _:
            return {}


async def _read_urlencoded(request: Request, chunks: AsyncGenerator[bytes, None]) -> Fields:
    try:
        form = await FormParser(request.headers, chunks).parse()
    except MultiPartException as error:
        raise BadInput(error.message) from error
    return {name: value for name, value in form.items() if isinstance(value, str)}


class _Body:
    """A body that is counted while it is read, and not read beyond the limit."""

    def __init__(self, request: Request, limit: int, make_room: MakeRoom) -> None:
        self._request, self._limit, self._make_room = request, limit, make_room
        self.size = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        stream = self._request.stream()
        while (chunk := await _next(stream)) is not None:
            self.size += len(chunk)
            if self.size > self._limit:
                raise BodyTooLarge(f"The body is larger than the limit of {self._limit} bytes.")
            await self._make_room(len(chunk))
            yield chunk


async def _next(stream: AsyncGenerator[bytes, None]) -> bytes | None:
    try:
        async with asyncio.timeout(SILENCE_S):
            return await anext(stream, None)
    except TimeoutError as error:
        raise BodyStopped(f"The body is not whole, and for {SILENCE_S:g} s nothing came of it.") from error


def _fault(field: str, kind: str, message: str) -> dict[str, object]:
    return {"type": kind, "loc": ("body", field), "msg": message, "input": None}
