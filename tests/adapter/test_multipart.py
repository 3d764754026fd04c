"""Multipart forms as Node, curl and others write them, in whatever pieces they come."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from adapter.errors import BadInput
from adapter.multipart import MAX_FIELD_BYTES, MAX_FIELDS, MAX_FILES, Fields, read_multipart

BOUNDARY = "----formdata-undici-014582095274"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
PICTURE = b"\xff\xd8\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n\r\n\0--\xff\xd9\r"
"""Full of what looks like the end of a part."""


def part(disposition: str, content: bytes, more: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data{disposition}\r\n{more}\r\n"
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


NODE = form(
    part('; name="entries"', b"{}"),
    part('; name="image"; filename="blob"', PICTURE, "Content-Type: application/octet-stream\r\n"),
)


async def _each(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def read_by_starlette(content_type: str, chunks: AsyncGenerator[bytes, None]) -> Fields:
    limits = {"max_files": MAX_FILES, "max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
    form = await MultiPartParser(Headers({"content-type": content_type}), chunks, **limits).parse()
    fields = {
        name: value if isinstance(value, str) else await value.read() for name, value in form.multi_items()
    }
    await form.close()
    return fields


def outcome(
    read: Callable[..., Coroutine[Any, Any, Fields]], content_type: str, chunks: list[bytes]
) -> object:
    """The fields, or the message of the fault."""
    try:
        return asyncio.run(read(content_type, _each(chunks)))
    except MultiPartException as fault:
        return fault.message
    except BadInput as fault:
        return str(fault)


def assert_read_as_by_starlette(chunks: list[bytes], content_type: str = CONTENT_TYPE) -> object:
    found = outcome(read_multipart, content_type, chunks)
    assert found == outcome(read_by_starlette, content_type, chunks)
    return found


@pytest.mark.parametrize("size", [*range(1, 80), len(NODE)])
def test_a_form_is_read_in_chunks_of_any_size(size: int) -> None:
    chunks = [NODE[start : start + size] for start in range(0, len(NODE), size)]
    assert outcome(read_multipart, CONTENT_TYPE, [*chunks, b""]) == {"entries": "{}", "image": PICTURE}


@given(
    fields=st.lists(st.tuples(st.sampled_from(["a", "b", "image"]), st.booleans(), st.binary(max_size=60))),
    cuts=st.lists(st.integers(0, 600), max_size=6),
)
def test_any_form_is_read_as_starlette_reads_it(
    fields: list[tuple[str, bool, bytes]], cuts: list[int]
) -> None:
    body = form(*(part(f'; name="{name}"{"; filename=x" * file}', content) for name, file, content in fields))
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    assert_read_as_by_starlette([body[start:end] for start, end in pairwise(edges)])


@pytest.mark.parametrize(
    "disposition",
    [
        *('; name="image"; filename="blob"', '; name="image"; filename=""', "; name=image; filename=blob"),
        *('; filename="a.jpg"; name="image"', '; name="image"; filename="für.jpg"', '; name="image"'),
        *('; name="image"; filename="quo\\"te; name=text.jpg"', '; NAME="image"; FileName="blob"'),
        *('; name="=?utf-8?Q?image?="', '; name=""', "; filename=x"),
    ],
)
def test_a_file_is_told_from_a_field_as_starlette_does(disposition: str) -> None:
    assert_read_as_by_starlette([form(part(disposition, b"x"))])


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (form(*[part('; name="f"; filename="x"', b"")] * (MAX_FILES + 1)), "Too many files"),
        (form(*[part('; name="f"', b"")] * (MAX_FIELDS + 1)), "Too many fields"),
        (part('; name="f"', b"x" * (MAX_FIELD_BYTES + 1)), "maximum size of 1024KB"),
        (f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx".encode(), '"name" must be provided'),
        (form(part('; name="f"', b"", "X-Long: " + "x" * 5000 + "\r\n")), "Invalid multipart data"),
        (form(part('; name="f"', b"", "X: y\r\n" * 20)), "Invalid multipart data"),
        (form(part('; name="f"', b"", "no header\r\n")), "Invalid multipart data"),
        (b"no form at all", "Invalid multipart data"),
        (f"--{BOUNDARY}x\r\n".encode(), "Invalid multipart data"),
    ],
)
@pytest.mark.parametrize("size", [7, 65536])
def test_a_malformed_form_is_refused_in_starlettes_words(body: bytes, fault: str, size: int) -> None:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert fault in str(assert_read_as_by_starlette(chunks))


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a file that Starlette leaves open
@pytest.mark.parametrize(
    "body",
    [
        b"\r\n" + NODE + b"after it\r\n--",
        NODE[: -len(BOUNDARY)],
        form(part('; name="text"', b"cat"), part('; name="text"', b"dog")),
        form(part('; name="text"', b"f\xfcr")),
        form(
            *[part(f'; name="file {n}"; filename="x"', b"x") for n in range(MAX_FILES)],
            *[part(f'; name="field {n}"', b"x" * MAX_FIELD_BYTES) for n in range(MAX_FIELDS)],
        ),
    ],
    ids=["more around it", "cut short", "a name twice", "latin-1", "as much as is allowed"],
)
def test_an_odd_form_is_read_as_starlette_reads_it(body: bytes) -> None:
    assert isinstance(assert_read_as_by_starlette([body]), dict)


@pytest.mark.parametrize("boundary", [f'"{BOUNDARY}"', f"{BOUNDARY}; charset=utf-8", "", "x" * 300])
def test_the_boundary_is_read_as_starlette_reads_it(boundary: str) -> None:
    content_type = f"Multipart/Form-Data; boundary={boundary}" if boundary else "multipart/form-data"
    assert_read_as_by_starlette([NODE], content_type)
