"""Reading `/predict`'s form: into memory only, with a limit that is enforced while reading."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from adapter.errors import BadInput, BodyTooLarge
from adapter.protocol import Payload


@dataclass(frozen=True)
class Form:
    """The fields of a prediction request, and the size of the body in bytes."""

    entries: str
    payload: Payload
    size: int


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, which would write parts of more than 1 MiB to a temporary file."""

    spool_max_size = 1 << 62


def declared_size(request: Request, limit: int) -> int:
    """Bytes to expect of the body; the limit where the client does not say.

    Raises:
        BodyTooLarge: the client says that it is over the limit.
    """
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdigit() else limit
    if size > limit:
        raise BodyTooLarge(f"The body has {size} bytes; the limit is {limit}.")
    return size


async def read_form(request: Request, limit: int) -> Form:
    """Reads and checks the form.

    Raises:
        RequestValidationError: `entries` is missing, or a field has the wrong kind (422, as FastAPI says it).
        BodyTooLarge: more than `limit` bytes.
        BadInput: no form, or neither a picture nor a text in it.
    """
    counter = _Counter(request, limit)
    fields = await _parse(request, counter.stream())
    try:
        return await _read_fields(fields, counter)
    finally:
        await fields.close()


async def _read_fields(fields: FormData, counter: "_Counter") -> Form:
    entries = fields.get("entries")
    if not isinstance(entries, str) or not entries:
        raise RequestValidationError([_fault("entries", "missing", "Field required")])
    image, text = fields.get("image"), fields.get("text")
    if isinstance(image, str):
        raise RequestValidationError([_fault("image", "value_error", "Expected a file, not a plain field")])
    if isinstance(text, UploadFile):
        raise RequestValidationError([_fault("text", "string_type", "Input should be a valid string")])
    if image is not None:
        return Form(entries, Payload(image=await image.read()), counter.size)
    if not text:
        raise BadInput("Either image or text must be provided")
    return Form(entries, Payload(text=text), counter.size)


async def _parse(request: Request, stream: AsyncGenerator[bytes, None]) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        match kind:
            case "multipart/form-data":
                return await _InMemoryParser(request.headers, stream, max_files=8, max_fields=16).parse()
            case "application/x-www-form-urlencoded":
                return await FormParser(request.headers, stream).parse()
            case _:
                return FormData()
    except MultiPartException as error:
        raise BadInput(error.message) from error


class _Counter:
    """Counts a body while it is read, and stops at the limit."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request, self._limit, self.size = request, limit, 0

    async def stream(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self._request.stream():
            self.size += len(chunk)
            if self.size > self._limit:
                raise BodyTooLarge(f"The body is larger than the limit of {self._limit} bytes.")
            yield chunk


def _fault(field: str, kind: str, message: str) -> dict[str, object]:
    return {"type": kind, "loc": ("body", field), "msg": message, "input": None}
