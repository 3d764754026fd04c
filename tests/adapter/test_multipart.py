"""Multipart forms as Node, curl and others write them, in whatever pieces they come."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

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


def read(*chunks: bytes, content_type: str = CONTENT_TYPE) -> Fields:
    return asyncio.run(read_multipart(content_type, _each(chunks)))


async def _each(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("size", [*range(1, 80), len(NODE)])
def test_a_form_is_read_in_chunks_of_any_size(size: int) -> None:
    chunks = [NODE[start : start + size] for start in range(0, len(NODE), size)]
    assert read(*chunks, b"") == {"entries": "{}", "image": PICTURE}


@given(
    fields=st.lists(st.tuples(st.sampled_from(["a", "b", "image"]), st.booleans(), st.binary(max_size=60))),
    cuts=st.lists(st.integers(0, 600), max_size=6),
)
def test_a_form_is_read_as_starlette_reads_it(fields: list[tuple[str, bool, bytes]], cuts: list[int]) -> None:
    body = form(
        *(
            part(f'; name="{name}"{"; filename=x" * file}', content)
            for name, file, content in fields[:MAX_FILES]
        )
    )
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    chunks = [body[start:end] for start, end in pairwise(edges)]
    assert read(*chunks) == asyncio.run(_by_starlette(chunks))


async def _by_starlette(chunks: list[bytes]) -> Fields:
    form = await MultiPartParser(Headers({"content-type": CONTENT_TYPE}), _each(chunks)).parse()
    fields = {
        name: value if isinstance(value, str) else await value.read() for name, value in form.multi_items()
    }
    await form.close()
    return fields


@pytest.mark.parametrize(
    ("disposition", "name", "value"),
    [
        ('; name="image"; filename="blob"', "image", b"x"),
        ('; name="image"; filename=""', "image", b"x"),
        ("; name=image; filename=blob", "image", b"x"),
        ('; filename="a.jpg"; name="image"', "image", b"x"),
        ('; name="image"; filename="quo\\"te; name=text.jpg"', "image", b"x"),
        ('; name="image"; filename="für.jpg"', "image", b"x"),
        ('; NAME="image"; FileName="blob"', "image", b"x"),
        ('; name="image"', "image", "x"),
        ('; name="=?utf-8?Q?image?="', "=?utf-8?Q?image?=", "x"),
        ('; name=""', "", "x"),
    ],
)
def test_a_file_is_told_from_a_field_by_its_filename(disposition: str, name: str, value: str | bytes) -> None:
    assert read(form(part(disposition, b"x"))) == {name: value}


@pytest.mark.parametrize("boundary", [f'"{BOUNDARY}"', f"{BOUNDARY}; charset=utf-8"])
def test_the_boundary_may_be_quoted_or_followed(boundary: str) -> None:
    content_type = f"Multipart/Form-Data; boundary={boundary}"
    assert read(NODE, content_type=content_type) == {"entries": "{}", "image": PICTURE}


def test_what_stands_before_and_after_a_form_is_passed_over() -> None:
    assert read(b"\r\n" + NODE + b"after it\r\n--") == {"entries": "{}", "image": PICTURE}


def test_a_part_without_its_end_is_left_out() -> None:
    assert read(NODE[: -len(BOUNDARY)]) == {"entries": "{}"}


def test_text_that_is_not_utf_8_is_read_as_latin_1() -> None:
    assert read(form(part('; name="text"', b"f\xfcr"))) == {"text": "für"}


def test_as_many_files_and_fields_as_allowed_are_read() -> None:
    files = [part(f'; name="file {n}"; filename="x"', b"x") for n in range(MAX_FILES)]
    fields = [part(f'; name="field {n}"', b"x" * MAX_FIELD_BYTES) for n in range(MAX_FIELDS)]
    assert len(read(form(*files, *fields))) == MAX_FILES + MAX_FIELDS


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (form(*[part('; name="f"; filename="x"', b"")] * (MAX_FILES + 1)), "Too many files"),
        (form(*[part('; name="f"', b"")] * (MAX_FIELDS + 1)), "Too many fields"),
        (part('; name="f"', b"x" * (MAX_FIELD_BYTES + 1)), "maximum size of 1024KB"),
        (form(part("; filename=x", b"")), '"name" must be provided'),
        (f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx".encode(), '"name" must be provided'),
        (form(part('; name="f"', b"", "X-Long: " + "x" * 5000 + "\r\n")), "Invalid multipart data"),
        (form(part('; name="f"', b"", "X: y\r\n" * 20)), "Invalid multipart data"),
        (form(part('; name="f"', b"", "no header\r\n")), "Invalid multipart data"),
        (b"no form at all", "Invalid multipart data"),
        (f"--{BOUNDARY}x\r\n".encode(), "Invalid multipart data"),
    ],
)
@pytest.mark.parametrize("size", [7, 65536])
def test_a_malformed_form_is_refused_with_the_fault(body: bytes, fault: str, size: int) -> None:
    with pytest.raises(BadInput, match=fault):
        read(*(body[start : start + size] for start in range(0, len(body), size)))


@pytest.mark.parametrize(
    ("content_type", "fault"),
    [
        ("multipart/form-data", "Missing boundary"),
        (f"multipart/form-data; boundary={'x' * 300}", "Invalid multipart data"),
    ],
)
def test_a_form_without_a_usable_boundary_is_refused(content_type: str, fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        read(NODE, content_type=content_type)
