"""A local hub, real enough for `huggingface_hub` itself, with faults on order.

It speaks what the library asks for: a model's info with its files' hashes, the tree of a revision, and the files,
where large ones (LFS) are redirected to another host, as the hub does with its CDN. It does not announce Xet.
Files of any other path can be served too, for what is published elsewhere.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from tests.support.hub_content import Fault, Hub, Request, git_sha1, sha256
from tests.support.hub_http import Handler

__all__ = ["Fault", "Hub", "Request", "git_sha1", "running_hub", "sha256"]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Who asked has gone away in the middle, as tests of interrupted downloads do."""


@contextmanager
def running_hub(port: int = 0) -> Iterator[Hub]:
    """A hub of its own on this host, at a port or a free one, with a second host for large files."""
    hub = Hub()
    handler = type("Handler", (Handler,), {"hub": hub})
    servers = [_Server(address, handler) for address in (("127.0.0.1", port), ("127.0.0.2", 0))]
    hub.url, hub.cdn_url = (f"http://{server.server_address[0]!s}:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
