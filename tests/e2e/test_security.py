"""Token, networks and TLS over the wire, right and wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.support.asking import clip_entries
from tests.support.certificates import make_certificate
from tests.support.node import ask, needs_node
from tests.support.server import NewState, Server

pytestmark = pytest.mark.triton

TOKEN = "0123456789abcdef-secret_path"
ENTRIES = clip_entries("textual")
FORM = {"entries": json.dumps(ENTRIES), "text": "sunset"}
INSIDE, OUTSIDE = "192.0.2.9", "203.0.113.9"


class Guarded(Server):
    """A service behind a token and a proxy on this host, for one network; its client comes from there."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}"

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Encrypted(Server):
    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def guarded(new_state: NewState) -> Iterator[Guarded]:
    with Guarded(
        new_state(),
        IMMICH_HOST="[::]",
        IMMICH_LOG_LEVEL="debug",
        IMMICH_TRITON_TOKEN=TOKEN,
        IMMICH_TRITON_ALLOWED_NETWORKS="192.0.2.0/24",
        IMMICH_TRITON_TRUSTED_PROXIES="127.0.0.0/8",
    ) as running:
        yield running


def predict(server: Guarded, path: str, forwarded_for: str | None) -> int:
    headers = {"x-forwarded-for": forwarded_for} if forwarded_for else {}
    return httpx.post(f"{server.origin}{path}predict", data=FORM, headers=headers, timeout=60).status_code


def test_the_token_and_the_network_decide_who_is_answered(guarded: Guarded) -> None:
    assert predict(guarded, f"/{TOKEN}/", INSIDE) == 200
    assert predict(guarded, "/", INSIDE) == 404
    assert predict(guarded, f"/{TOKEN}x/", INSIDE) == 404
    assert predict(guarded, f"/{TOKEN}/", OUTSIDE) == 403
    assert predict(guarded, "/", OUTSIDE) == 403
    assert predict(guarded, f"/{TOKEN}/", f"{INSIDE}, {OUTSIDE}") == 403, "the left one was made up"
    assert predict(guarded, f"/{TOKEN}/", None) == 403, "the proxy itself is in no allowed network"


def test_the_health_check_of_this_host_needs_the_token_alone(guarded: Guarded) -> None:
    assert httpx.get(f"{guarded.url}/ping").text == "pong"
    assert httpx.get(f"{guarded.origin}/ping").status_code == 404


def test_the_main_port_has_no_metrics(guarded: Guarded) -> None:
    for base in (guarded.url, guarded.origin):
        answer = httpx.get(f"{base}/metrics", headers={"x-forwarded-for": INSIDE})
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_the_log_does_not_know_the_token(guarded: Guarded) -> None:
    predict(guarded, f"/{TOKEN}/", INSIDE)
    predict(guarded, f"/{TOKEN[:-1]}/", INSIDE)
    httpx.get(f"{guarded.url}/ping/no-such-page", headers={"x-forwarded-for": INSIDE})
    log = guarded.log.read_text()
    assert '"path": "/predict"' in log
    assert "/<IMMICH_TRITON_TOKEN>/" in log, "the URL to paste, without the secret"
    assert TOKEN[:-1] not in log


@pytest.fixture(scope="module")
def local(new_state: NewState) -> Iterator[Guarded]:
    """A service behind a token, for clients of this host that use IPv4."""
    networks = {"IMMICH_HOST": "[::]", "IMMICH_TRITON_ALLOWED_NETWORKS": "127.0.0.1/32"}
    with Guarded(new_state(), None, IMMICH_TRITON_TOKEN=TOKEN, **networks) as running:
        yield running


@needs_node
def test_immichs_own_client_keeps_the_token_path(local: Guarded) -> None:
    wrong, right = ask(f"{local.origin}/", f"{local.url}/", entries=ENTRIES, text="sunset")
    assert (wrong["status"], right["status"], right["ping"]) == (404, 200, "pong")
    assert json.loads(right["body"]["clip"])


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6")
def test_ipv4_clients_of_a_socket_for_both_are_told_apart(local: Guarded) -> None:
    assert local.predict(ENTRIES, text="sunset").status_code == 200
    assert httpx.post(f"http://[::1]:{local.port}/{TOKEN}/predict", data=FORM).status_code == 403


def test_https_is_answered_and_http_and_strangers_certificates_are_not(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path, "server")
    files = {"IMMICH_TRITON_TLS_CERTIFICATE": str(certificate), "IMMICH_TRITON_TLS_KEY": str(key)}
    with monkeypatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate))
        server = Encrypted(state, None, **files)
        server.__enter__()
    try:
        assert server.predict(ENTRIES, text="sunset").status_code == 200
        with pytest.raises(httpx.ConnectError, match="self-signed"):
            httpx.get(f"{server.url}/ping")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{server.port}/ping")
        assert server.client.get("/ping").text == "pong"
        assert "URL: https://" in server.log.read_text()
    finally:
        server.__exit__()
