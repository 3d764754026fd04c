"""What Triton's error messages mean; the messages are those of Triton 2.51."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapter.errors import SetupError
from adapter.triton import (
    REPOSITORY_KEY_HEADER,
    NotLoaded,
    Rejected,
    StubDead,
    Triton,
    TritonError,
    bytes_tensor,
    translate,
)


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("in ensemble 'm.visual', The picture is empty (0 bytes)", "400", Rejected),
        ("Request for unknown model: 'm.visual' is not found", "400", NotLoaded),
        ("Request for unknown model: 'm.visual' has no available versions", "400", NotLoaded),
        ("something unforeseen", "500", TritonError),
    ],
)
def test_an_error_is_told_apart_by_its_message(message: str, status: str, kind: type[TritonError]) -> None:
    assert type(translate(message, status)) is kind


def test_the_ensembles_name_is_left_out_of_what_clients_see() -> None:
    assert str(translate("in ensemble 'm.visual', The picture is empty", "400")) == "The picture is empty"


def test_a_dead_stub_is_named() -> None:
    message = (
        "in ensemble 'm.visual', Failed to process the request(s) for model instance "
        "'m.visual.preprocess_0_0', message: Stub process 'm.visual.preprocess_0_0' is not healthy."
    )
    error = translate(message, "500")
    assert isinstance(error, StubDead)
    assert error.model == "m.visual.preprocess"


def test_a_url_without_scheme_is_refused_with_an_example() -> None:
    with pytest.raises(SetupError, match="http://triton:8000"):
        Triton("triton:8000", 1)


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
            await triton.is_up()
            await triton.close()

    asyncio.run(ask())
    sent = key or None
    assert seen == {
        "/v2/repository/models/m/load": sent,
        "/v2/repository/models/m/unload": sent,
        "/v2/health/live": None,
    }
