"""Multipart forms in memory: a part grows in one buffer, which then is its value."""

from collections.abc import AsyncIterable
from functools import lru_cache
from io import BytesIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from adapter.errors import BadInput

MAX_FILES, MAX_FIELDS = 8, 16
MAX_FIELD_BYTES = 2**20

Fields = dict[str, str | bytes]
"""Name → value: text of a plain field, bytes of a file. Of several with the same name, the last."""


async def read_multipart(content_type: str, chunks: AsyncIterable[bytes]) -> Fields:
    """Reads a form as it comes in. A part without its end is left out.

    Raises:
        BadInput: no multipart form, or one with too many or too large fields.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if boundary is None:
        raise BadInput("Missing boundary in multipart.")
    reader = _Reader()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.add_header_name,
                "on_header_value": reader.add_header_value,
                "on_header_end": reader.end_header,
                "on_headers_finished": reader.end_headers,
                "on_part_data": reader.add_data,
                "on_part_end": reader.end,
            },
        )
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError as error:
        raise BadInput("Invalid multipart data.") from error
    return reader.fields


class _Reader:
    """Puts together what the parser finds: it calls with pieces, which end where chunks end."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        self._files = self._plain = 0
        self.begin()

    def begin(self) -> None:
        self._header_name = self._header_value = self._disposition = b""
        self._name, self._is_file = "", False
        self._content = BytesIO()

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def end_headers(self) -> None:
        self._name, self._is_file = _name_of(self._disposition)
        self._files += self._is_file
        self._plain += not self._is_file
        if self._files > MAX_FILES:
            raise BadInput(f"Too many files. Maximum number of files is {MAX_FILES}.")
        if self._plain > MAX_FIELDS:
            raise BadInput(f"Too many fields. Maximum number of fields is {MAX_FIELDS}.")

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self._content.write(memoryview(data)[start:end])
        if not self._is_file and self._content.tell() > MAX_FIELD_BYTES:
            raise BadInput(f"Part exceeded maximum size of {MAX_FIELD_BYTES // 1024}KB.")

    def end(self) -> None:
        value = self._content.getvalue()
        self.fields[self._name] = value if self._is_file else _text(value)


@lru_cache
def _name_of(disposition: bytes) -> tuple[str, bool]:
    """The field's name, and whether it is a file. Clients write the same few lines again and again."""
    options = parse_options_header(disposition)[1]
    if b"name" not in options:
        raise BadInput('The Content-Disposition header field "name" must be provided.')
    return _text(options[b"name"]), b"filename" in options


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
