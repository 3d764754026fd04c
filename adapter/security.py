"""Who may ask: networks, a secret path, and TLS. Each is off until it is set; docs/security.md has the reasons."""

import hmac
import logging
import ssl
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter.errors import SetupError
from adapter.settings import Settings

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def protect(app: FastAPI, settings: Settings, refusals: Counter) -> None:
    """Puts before the application what is set. Networks come first: a stranger learns nothing about the path.

    Args:
        app: every middleware that it has already runs after these.
        settings: which of them are wanted.
        refusals: counts refused requests by `reason`.
    """
    if settings.token:
        app.add_middleware(
            SecretPath, token=settings.token.get_secret_value(), refusals=refusals.labels("path")
        )
    if settings.allowed_networks:
        app.add_middleware(
            AllowedNetworks,
            allowed=settings.allowed_networks,
            proxies=settings.trusted_proxies,
            refusals=refusals.labels("network"),
        )


class SecretPath:
    """ASGI middleware: what lies under `/<token>/` is handed on without that prefix; all else is not found."""

    def __init__(self, app: ASGIApp, token: str, refusals: Counter) -> None:
        self._app, self._token, self._refusals = app, token.encode(), refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        first, slash, rest = scope["path"].removeprefix("/").partition("/")
        if hmac.compare_digest(first.encode(errors="replace"), self._token) and slash:
            await self._app({**scope, "path": f"/{rest}", "raw_path": None}, receive, send)
            return
        self._refusals.inc()
        log.warning("refused with 404: a path without the token of IMMICH_TRITON_TOKEN")
        await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)


class AllowedNetworks:
    """ASGI middleware: answers clients of the given networks, and nobody else but this host's own `/ping`."""

    def __init__(
        self, app: ASGIApp, allowed: Sequence[Network], proxies: Sequence[Network], refusals: Counter
    ) -> None:
        self._app, self._allowed, self._proxies, self._refusals = app, allowed, proxies, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else ""
        client = client_address(peer, Headers(scope=scope).getlist("x-forwarded-for"), self._proxies)
        if _within(client, self._allowed) or _is_health_check(scope, client):
            await self._app(scope, receive, send)
            return
        self._refusals.inc()
        log.warning("refused with 403: %s is not in IMMICH_TRITON_ALLOWED_NETWORKS", client or "no address")
        await JSONResponse({"detail": "Your address is not allowed here."}, 403)(scope, receive, send)


def client_address(peer: str, forwarded: Iterable[str], proxies: Sequence[Network]) -> Address | None:
    """Who asks: the peer, or where that is a trusted proxy, the last in its list that is none.

    Everything to the left of that one was written by a client, who may write what it likes.

    Args:
        peer: address of the other end of the connection.
        forwarded: the values of all `X-Forwarded-For` headers, in their order.
        proxies: who may say for whom it asks.

    Returns:
        None where it is no IP address.
    """
    client = _address(peer)
    hops = [hop for value in forwarded for hop in value.split(",")]
    while hops and _within(client, proxies):
        client = _address(hops.pop())
    return client


def _address(text: str) -> Address | None:
    """`192.0.2.1`, `2001:db8::1`, with a port too; IPv4 in IPv6, as a socket on `[::]` says it, is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _within(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def _is_health_check(scope: Scope, client: Address | None) -> bool:
    return client is not None and client.is_loopback and scope["path"].endswith("/ping")


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Tries the files of TLS before anything is started.

    Raises:
        SetupError: one of the two is not set or cannot be used.
    """
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        missing = "IMMICH_TRITON_TLS_CERTIFICATE" if certificate is None else "IMMICH_TRITON_TLS_KEY"
        raise SetupError(f"TLS needs a certificate and its key, each in a file: {missing} is not set.")
    for file in (certificate, key):
        _check_readable(file)
    try:
        # Without a password given here, OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise SetupError(
            f"TLS: {certificate} and {key} are no certificate (chain) and its key, in PEM and without a password: "
            f"{reason}"
        ) from error


def _check_readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise SetupError(f"TLS: cannot read {file}: {error.strerror}") from error
