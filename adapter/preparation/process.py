"""Work in a process of its own, which takes the libraries that it needs with it when it ends."""

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from adapter.errors import ModelRefused, ModelUnavailable, of_disk
from adapter.preparation import manifest
from adapter.preparation.manifest import Prepared
from adapter.protocol import Part
from adapter.settings import PreparationSettings

log = logging.getLogger(__name__)


async def run_worker(part: Part, source: Path, repository: Path, settings: PreparationSettings) -> Prepared:
    """`repository.prepare`, as the program `worker.py`: it takes seconds of Python and gigabytes of memory.

    Raises:
        ModelRefused: its files are not fit to be served.
        ModelUnavailable: it cannot be done now, for want of disk or memory.
        OSError: no process can be started.
    """
    job = {
        "part": asdict(part),
        "source": str(source),
        "repository": str(repository),
        "settings": settings.model_dump(mode="json"),
    }
    result = json.loads(await _run(part, "adapter.preparation.worker", json.dumps(job)))
    if reason := result.get("refused"):
        raise ModelRefused(f"{part} is not fit to be served: {reason}")
    if reason := result.get("failed"):
        raise ModelUnavailable(f"{part} cannot be prepared: {reason}")
    return manifest.parse(result)


async def build_demo_model(part: Part, cache: Path) -> None:
    """Makes sure that a demo model lies in a folder, as this version builds it.

    Raises:
        ModelRefused: it cannot be built here.
        ModelUnavailable: not now.
    """
    try:
        reason = await _run(part, "demo.models", part.task, str(cache))
    except OSError as error:
        raise of_disk(f"{part} cannot be built: {error}", error) from error
    if reason:
        raise ModelRefused(f"{part} cannot be built: {reason.decode().strip()}")


async def _run(part: Part, module: str, *arguments: str) -> bytes:
    """What a module prints, run as a program that ends when this one does."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        log.error("%s for %s: %s", module, part, errors.decode(errors="replace").strip())
        kind = ModelUnavailable if process.returncode == -signal.SIGKILL else ModelRefused
        raise kind(f"{part} cannot be prepared: {_end(process.returncode)}")
    return output


def _end(returncode: int) -> str:
    """What a process died of, by its exit status: negative for a signal."""
    if returncode == -signal.SIGKILL:
        return "its process was killed; is there too little memory?"
    if returncode < 0:
        return f"a library crashed with {signal.Signals(-returncode).name}"
    return f"its process ended with {returncode}"
