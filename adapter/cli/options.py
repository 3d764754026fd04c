"""Options that several commands have."""

from typing import Annotated

import typer

from adapter.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def own_url(settings: Settings) -> str:
    """Where the service of this host is asked from this host."""
    scheme = "https" if settings.tls_certificate else "http"
    address = settings.host.strip("[]")
    address = "127.0.0.1" if address in ("", "::", "0.0.0.0") else address  # noqa: S104 - compared, not bound
    host = f"[{address}]" if ":" in address else address
    path = f"/{settings.token.get_secret_value()}" if settings.token else ""
    return f"{scheme}://{host}:{settings.port}{path}"
