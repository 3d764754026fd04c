"""`immich-triton doctor`: each line is good, or says what to do."""

import json
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple
from urllib.parse import urlsplit

import typer

from adapter import settings as environment
from adapter.cli.options import Json
from adapter.errors import SetupError
from adapter.settings import Device, Settings

LITTLE_DISK_BYTES = 5 * 2**30
LITTLE_SHARED_MEMORY_BYTES = 256 * 2**20
TIMEOUT_S = 3.0


def doctor(json_output: Json = False) -> None:
    """Looks at this host: each line is good, or says what to do. Exit status 1 if one is not good."""
    findings = list(examine(environment.load()))
    if json_output:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        for finding in findings:
            mark, color = ("good", typer.colors.GREEN) if finding.good else ("look", typer.colors.RED)
            typer.echo(f"{typer.style(mark, fg=color)}  {finding.subject:14} {finding.message}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


class Finding(NamedTuple):
    """One line of the report."""

    subject: str
    good: bool
    message: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at everything that the service needs on this host, one after the other."""
    for subject, check in {
        "Python": _python,
        "numpy": _numpy,
        "Triton": _triton,
        "shared memory": _shared_memory,
        "disk": _disk,
        "models": _models,
        "port": _port,
        "hub": _hub,
        "GPU": _gpu,
    }.items():
        try:
            yield Finding(subject, True, check(settings))
        except SetupError as fault:
            yield Finding(subject, False, str(fault))


def _python(_: Settings) -> str:
    from adapter.wheel import find_libpython

    found = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        raise SetupError(f"Python {found} runs here; 3.11 or 3.12 is needed")
    return f"{found} in {sys.prefix}, with {find_libpython()}"


def _numpy(_: Settings) -> str:
    import onnxruntime  # whichever package it comes from: onnxruntime or onnxruntime-gpu

    return f"{version('numpy')}, onnxruntime {onnxruntime.__version__}"


def _triton(settings: Settings) -> str:
    from adapter.wheel import locate

    if settings.triton_url is None:
        return f"embedded: {locate().server}"
    _connect(settings.triton_url, f"Triton at {settings.triton_url}")
    return f"answers at {settings.triton_url}"


def _shared_memory(_: Settings) -> str:
    from adapter.embedded import SHARED_MEMORY

    if not SHARED_MEMORY.is_dir():
        raise SetupError(f"{SHARED_MEMORY} is missing; Triton's Python processes exchange tensors there")
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < LITTLE_SHARED_MEMORY_BYTES:
        raise SetupError(f"only {_size(free)} free; in Docker, give the container shm_size: 1g")
    return f"{_size(free)} free"


def _disk(settings: Settings) -> str:
    folder = next(parent for parent in (settings.state, *settings.state.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < LITTLE_DISK_BYTES:
        raise SetupError(
            f"only {_size(free)} free for {settings.state}; a large model takes several GB, twice"
        )
    return f"{_size(free)} free for {settings.state}"


def _models(settings: Settings) -> str:
    if not settings.models.is_dir():
        return f"{settings.models} does not exist yet; it will be made"
    return f"{sum(1 for _ in settings.models.glob('*/*/'))} in {settings.models}"


def _port(settings: Settings) -> str:
    from adapter import server

    server.listen(settings.host, settings.port).close()
    return f"{settings.port} is free"


def _hub(_: Settings) -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set: nothing is fetched"
    _connect(constants.ENDPOINT, f"{constants.ENDPOINT}, from which models are fetched,")
    return f"{constants.ENDPOINT} can be reached"


def _gpu(settings: Settings) -> str:
    from adapter.device import NoDriver, NoGpu, find_gpu, try_gpu

    if settings.triton_url:
        return f"models run where Triton does: as IMMICH_TRITON_DEVICE={settings.preparation.device} says"
    if settings.preparation.device is Device.CPU:
        return "IMMICH_TRITON_DEVICE=cpu: models run on the CPU"
    found = None
    try:
        found = find_gpu()
        try_gpu()
    except NoGpu as reason:
        if isinstance(reason, NoDriver) and settings.preparation.device is Device.AUTO:
            return f"{reason}; models run on the CPU"
        raise SetupError(f"{found or 'a GPU'} cannot be used: {reason}") from reason
    return f"a graph ran on {found}"


def _connect(url: str, what: str) -> None:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), TIMEOUT_S).close()
    except OSError as error:
        raise SetupError(f"{what} cannot be reached: {error.strerror or error}") from error


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB"
