"""The processes behind a URL of this host: their memory and their processor time."""

import socket
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

FORWARDER = "docker-proxy"
"""Listens for a container, but is not it."""


def find(url: str) -> list[psutil.Process]:
    """The process of this host that listens at a URL, and all below it; none where they cannot be seen."""
    parts = urlsplit(url)
    if not _is_here(parts.hostname or ""):
        return []
    port = parts.port or (443 if parts.scheme == "https" else 80)
    listeners = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,)
    }
    for process in (psutil.Process(pid) for pid in listeners if pid):
        if process.ppid() not in listeners and process.name() != FORWARDER:
            return [process, *process.children(recursive=True)]
    return []


def memory_mb(url: str) -> float | None:
    """The memory of the service at a URL, all its processes together, in 10^6 bytes; None where it cannot be seen.

    Each counts with its share (PSS) of what several of them map, so that the shares can be added up.
    """
    try:
        return sum(process.memory_full_info().pss for process in find(url)) / 1e6 or None
    except psutil.Error:
        return None


def cpu_s(url: str) -> float:
    """The processor time that they have taken so far; 0 where it cannot be seen."""
    taken = 0.0
    for process in find(url):
        with suppress(psutil.Error):
            times = process.cpu_times()
            taken += times.user + times.system
    return taken


def _is_here(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False
