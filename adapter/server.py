"""Runs the service on a socket until it is told to stop."""

import asyncio
import errno
import gc
import logging
import math
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
import uvloop

from adapter import environment
from adapter.app import create_app
from adapter.connections import Connection, allow_many
from adapter.draining import LAST_WORDS_S, Closing, DrainingServer
from adapter.errors import SetupError
from adapter.metrics import exposed
from adapter.protocol import TaskName
from adapter.security import check_certificate
from adapter.service import Service, open_service
from adapter.setting_types import ClipResize
from adapter.settings import VARIABLES, Settings

log = logging.getLogger(__name__)

GARBAGE_EVERY = 10_000
"""Objects made between two looks for cycles among them. Python's default, 700, took 5 % of the processor time."""
RESIZED_OTHERWISE = (
    "%s: pictures are resized as its file says (%s), as Immich does since 3.3. To keep a search index that was made by "
    "3.2 or older, set IMMICH_TRITON_CLIP_RESIZE=shortest"
)


def run(settings: Settings) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        SetupError: the host lacks something, or the port is taken.
    """
    check_certificate(settings.tls_certificate, settings.tls_key)
    for sentence in environment.without_effect(VARIABLES):
        log.warning("%s", sentence)
    allow_many()
    with listen(settings.host, settings.port) as listener, suppress(asyncio.CancelledError):
        uvloop.run(_serve(settings, listener))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; on `[::]` for IPv4 too, or for IPv4 alone where the host has no IPv6.

    Raises:
        SetupError: the port is taken, or the address is not one of this host's.
    """
    address = host.strip("[]")
    try:
        if address != "::":
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=2048)
        if not socket.has_dualstack_ipv6():
            return socket.create_server(("0.0.0.0", port), backlog=2048)  # noqa: S104 - every interface, as asked
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"Port {port} is taken by another program. Stop that one, or choose another: --port 3004"
            ) from error
        raise SetupError(f"Cannot listen on {host} port {port}: {error.strerror or error}") from error


async def _serve(settings: Settings, listener: socket.socket) -> None:
    task = asyncio.current_task()
    assert task
    _on_stop_signals(task.cancel)
    async with open_service(settings) as service, exposed(service.metrics, settings.metrics_listen):
        gc.collect()
        gc.freeze()  # what is here now stays: no later collection looks at it again
        gc.set_threshold(GARBAGE_EVERY)
        announcing = asyncio.create_task(_announce(service, listener))
        await serve(service, listener)
        announcing.cancel()
        log.info("all that was asked is answered")
        _on_stop_signals(lambda: None)


async def serve(service: Service, listener: socket.socket) -> None:
    """Answers requests until a signal to stop has come and all that were taken are answered."""
    server = DrainingServer(_uvicorn_config(service.settings, service), service)
    _on_stop_signals(lambda: server.handle_exit(signal.SIGINT, None))
    await server.serve(sockets=[listener])


def _on_stop_signals(action: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, action)


def _uvicorn_config(settings: Settings, service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        Closing(create_app(service), service.health),
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # adapter/security.py reads them, where they can be trusted
        ws="none",
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        timeout_keep_alive=settings.keepalive_s,
        timeout_graceful_shutdown=math.ceil(settings.stop_grace_s + LAST_WORDS_S),
    )


async def _announce(service: Service, listener: socket.socket) -> None:
    """Says what is here, and when it is ready the URL."""
    settings, preparation = service.settings, service.preparation
    for task in TaskName:
        log.info("models here for %s: %s", task, ", ".join(preparation.names(task)) or "none")
    if settings.preparation.clip_resize is ClipResize.CONFIG:
        for name, resize in preparation.resized_otherwise().items():
            log.warning(RESIZED_OTHERWISE, name, resize)
    await service.health.ready.wait()
    host, port = listener.getsockname()[:2]
    address = _own_address() if host in ("::", "0.0.0.0") else host  # noqa: S104 - compared, not bound
    scheme = "https" if settings.tls_certificate else "http"
    path = "/<IMMICH_TRITON_TOKEN>/" if settings.token else ""
    log.info("ready. Paste this into Immich: Administration > Settings > Machine Learning")
    log.info("URL: %s://%s:%d%s", scheme, address, port, path)


def _own_address() -> str:
    """This host's address in its network. Nothing is sent: connecting a UDP socket only chooses a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
        return address
