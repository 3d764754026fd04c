"""Whole hosts that die or leave while HAProxy stands before them, and what becomes of the requests."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from demo.models.clip import NAME
from tests.support.front import Front, hosts, needs_haproxy
from tests.support.load import Load
from tests.support.pictures import jpeg
from tests.support.server import Asked, NewState, Server

pytestmark = [pytest.mark.triton, needs_haproxy]

PHOTO = jpeg(700, 900)
TOKEN = "0123456789abcdef-secret_path"


class Guarded(Server):
    @property
    def url(self) -> str:
        return f"{super().url}/{TOKEN}"


@pytest.fixture
def pair(new_state: NewState) -> Iterator[list[Server]]:
    with Server(new_state()) as one, Server(new_state()) as other:
        yield [one, other]


def asking(service: Asked) -> list[Callable[[], str]]:
    """A photo and a search: `right` if the answer is the one that the service gives now."""

    def comparing(**payload: Any) -> Callable[[], str]:
        alone = service.clip(NAME, **payload)

        def outcome() -> str:
            try:
                found = service.clip(NAME, **payload)
            except (AssertionError, httpx.TransportError) as error:
                return repr(error)
            return "right" if np.allclose(found, alone, atol=1e-3) else "wrong"

        return outcome

    return [comparing(image=PHOTO), comparing(text="sunset")]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_request_fails_when_hosts_end_and_come_back_in_turn(
    pair: list[Server], tmp_path: Path, end: signal.Signals
) -> None:
    listed = hosts(*(f"127.0.0.1:{server.port}" for server in pair))
    with Front(tmp_path, listed) as front, Load(*asking(front)) as load:
        for name, server in zip("ab", pair, strict=True):
            load.wait_for_answers(50)
            server.process.send_signal(end)
            load.wait_for_answers(50)
            server.process.wait(60)
            server.start()
            front.wait_for(f"photos/{name}", "UP")
        load.wait_for_answers(50)
    assert set(load.outcomes) == {"right"}


def test_the_secret_path_and_the_clients_own_address_hold_through_the_front(
    new_state: NewState, tmp_path: Path
) -> None:
    networks = {
        "IMMICH_TRITON_TRUSTED_PROXIES": "127.0.0.1",
        "IMMICH_TRITON_ALLOWED_NETWORKS": "127.0.0.1, 127.0.0.2",  # the front itself, for its checks; a client
    }
    with Guarded(new_state(), None, IMMICH_TRITON_TOKEN=TOKEN, **networks) as server:
        listed = hosts(f"127.0.0.1:{server.port}")
        with Front(tmp_path, listed, IMMICH_TRITON_TOKEN=TOKEN) as front:
            front.wait_for("photos/a", "UP")
            assert status(front, f"/{TOKEN}/", "127.0.0.2") == 200
            assert status(front, "/", "127.0.0.2") == 404
            assert status(front, f"/{TOKEN}/", "127.0.0.3") == 403


def status(front: Front, path: str, client: str) -> int:
    """As a client of this address, which says that it is another one."""
    made_up = {"x-forwarded-for": "127.0.0.2"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=client)) as there:
        return there.get(front.url + path, headers=made_up).status_code
