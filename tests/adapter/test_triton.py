"""What Triton's error messages mean; the messages are those of Triton 2.51."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapter.embedded import free_port
from adapter.triton import (
    HEADER_LENGTH,
    REPOSITORY_KEY_HEADER,
    Arrays,
    Gone,
    NotLoaded,
    OutOfMemory,
    Rejected,
    StubDead,
    Triton,
    TritonError,
    Unreachable,
    bytes_tensor,
    translate,
)


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("in ensemble 'm.visual', The picture is empty (0 bytes)", 400, Rejected),
        ("Request for unknown model: 'm.visual' is not found", 400, NotLoaded),
        ("Request for unknown model: 'm.visual' has no available versions", 400, NotLoaded),
        ("in ensemble 'm.detection', the picture is gone", 503, Gone),
        ("load failed: it needs 700 MiB of the GPU's memory, and others have 5900", 400, OutOfMemory),
        ("onnx runtime error: Failed to allocate memory for requested buffer", 500, OutOfMemory),
        ("Failed to initialize: No space left on device", 400, OutOfMemory),
        ("something unforeseen", 500, TritonError),
    ],
)
def test_an_error_is_told_apart_by_its_message(message: str, status: int, kind: type[TritonError]) -> None:
    assert type(translate(message, status)) is kind


def test_a_dead_stub_is_named() -> None:
    message = (
        "in ensemble 'm.visual', Failed to process the request(s) for model instance "
        "'m.visual.preprocess_0_0', message: Stub process 'm.visual.preprocess_0_0' is not healthy."
    )
    error = translate(message, 500)
    assert isinstance(error, StubDead)
    assert error.model == "m.visual.preprocess"


def test_bytes_that_end_in_zeros_survive() -> None:
    assert bytes_tensor(b"a\0\0")[0, 0] == b"a\0\0"


@pytest.mark.parametrize("key", ["secret", ""])
def test_the_key_goes_with_what_changes_the_repository_and_with_nothing_else(key: str) -> None:
    seen: dict[str, str | None] = {}

    async def note(request: web.Request) -> web.Response:
        seen[request.path] = request.headers.get(REPOSITORY_KEY_HEADER)
        return web.Response()

    async def ask() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", note)
        async with TestServer(app) as server:
            triton = Triton(f"http://127.0.0.1:{server.port}", 5, key)
            await triton.load("m")
            await triton.unload("m")
            await triton.fault()
            await triton.close()

    asyncio.run(ask())
    sent = key or None
    assert seen == {
        "/v2/repository/models/m/load": sent,
        "/v2/repository/models/m/unload": sent,
        "/v2/health/live": None,
    }


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEADER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"parameters":{"binary_data_size":4}}]}'
ANSWER = HEADER + np.float32(0.5).tobytes()


async def good(_: web.Request) -> web.StreamResponse:
    return web.Response(body=ANSWER, headers={HEADER_LENGTH: str(len(HEADER))})


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000", HEADER_LENGTH: str(len(HEADER))})
    await response.prepare(request)
    await response.write(ANSWER)
    assert request.transport
    request.transport.close()
    return response


async def refuses(_: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "in ensemble 'm', The picture is empty"}, status=400)


async def is_no_triton(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<h1>Bad Gateway</h1>", status=502)


async def says_nothing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500)


def infer(handler: Handler, *pictures: bytes, model: str = "m") -> tuple[Arrays, list[web.Request]]:
    """What inferences, one after the other, are answered with by a server, and what it was sent."""
    seen = []

    async def noting(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        await request.read()
        return await handler(request)

    async def ask() -> Arrays:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", noting)
        async with TestServer(app) as server:
            triton = Triton(f"http://127.0.0.1:{server.port}/", 5)
            try:
                for picture in pictures:
                    answer = await triton.infer(model, {"image": bytes_tensor(picture)})
                return answer
            finally:
                await triton.close()

    return asyncio.run(ask()), seen


def test_a_large_picture_arrives_whole_and_its_length_is_told() -> None:
    picture = bytes(range(256)) * 40_000
    answer, (request,) = infer(good, picture)
    assert answer["y"].tolist() == [[0.5]]
    header_length = int(request.headers[HEADER_LENGTH])
    body = asyncio.run(request.read())
    assert int(request.headers["content-length"]) == len(body)
    assert body[header_length:] == len(picture).to_bytes(4, "little") + picture
    assert "accept-encoding" not in request.headers, "Triton would compress the answer"


def test_a_connection_serves_one_request_after_the_other() -> None:
    _, requests = infer(good, *[b"picture"] * 5)
    assert len({id(request.protocol) for request in requests}) == 1


def test_a_models_name_is_quoted() -> None:
    _, (request,) = infer(good, b"picture", model="a b#ü?100%.visual")
    assert request.match_info["path"] == "v2/models/a b#ü?100%.visual/infer"


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        (breaks_off, Gone, "ClientPayloadError"),
        (refuses, Rejected, "^The picture is empty$"),
        (is_no_triton, TritonError, "Bad Gateway"),
        (says_nothing, TritonError, "HTTP status 500"),
    ],
)
def test_an_answer_that_is_none_is_an_error(handler: Handler, kind: type[TritonError], message: str) -> None:
    with pytest.raises(kind, match=message):
        infer(handler, b"picture")


def test_nobody_there_is_told_apart_from_a_broken_connection() -> None:
    async def ask() -> None:
        triton = Triton(f"http://127.0.0.1:{free_port()}", 5)
        try:
            assert "cannot be reached" in await triton.fault()
            await triton.infer("m", {"image": bytes_tensor(b"picture")})
        finally:
            await triton.close()

    with pytest.raises(Unreachable):
        asyncio.run(ask())
