"""Preparation in a process of its own: it takes seconds of Python and gigabytes of memory."""

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.preparation.families import FAMILIES
from adapter.preparation.graphs.rewrite import ProofFailed, RewriteError
from adapter.preparation.repository import Preferences, Prepared, find_prepared, prepare, read_prepared
from adapter.protocol import Part, TaskName, TypeName

log = logging.getLogger(__name__)


async def prepare_apart(part: Part, source: Path, repository: Path, preferences: Preferences) -> Prepared:
    """Prepares a part unless that is done already.

    Raises:
        ModelRefused: its files are not fit to be served.
        ModelUnavailable: it cannot be done now, for want of disk or memory.
    """
    try:
        return await _prepare_apart(part, source, repository, preferences)
    except OSError as error:  # a source vanished, or no process can be started
        raise ModelUnavailable(f"{part} cannot be prepared: {error}") from error


async def _prepare_apart(part: Part, source: Path, repository: Path, preferences: Preferences) -> Prepared:
    family = FAMILIES[part.task, part.type]
    found = await asyncio.to_thread(find_prepared, part, source, repository, family, preferences)
    if found:
        return found
    job = {
        "part": asdict(part),
        "source": str(source),
        "repository": str(repository),
        "preferences": asdict(preferences),
    }
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", __name__, json.dumps(job)),
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
        log.error("preparing %s: %s", part, errors.decode(errors="replace").strip())
        raise ModelUnavailable(f"{part} cannot be prepared: {_end(process.returncode)}")
    result = json.loads(output)
    if reason := result.get("refused"):
        raise ModelRefused(f"{part} is not fit to be served: {reason}")
    if reason := result.get("failed"):
        raise ModelUnavailable(f"{part} cannot be prepared: {reason}")
    return read_prepared(result)


def _end(returncode: int) -> str:
    """What a process died of, by its exit status: negative for a signal."""
    if returncode == -signal.SIGKILL:
        return "its process was killed; is there too little memory?"
    if returncode < 0:
        return f"a library crashed with {signal.Signals(-returncode).name}"
    return f"its process ended with {returncode}"


def main() -> None:
    """Prepares the part of the job in the first argument; prints what came of it as JSON."""
    job = json.loads(sys.argv[1])
    part = Part(TaskName(job["part"]["task"]), TypeName(job["part"]["type"]), job["part"]["name"])
    try:
        prepared = prepare(
            part,
            Path(job["source"]),
            Path(job["repository"]),
            FAMILIES[part.task, part.type],
            Preferences(**job["preferences"]),
        )
        result = asdict(prepared)
    except (RewriteError, ProofFailed) as error:
        result = {"refused": str(error)}
    except (KeyError, ValueError) as error:  # in one of the JSON files
        result = {"refused": f"{type(error).__name__}: {error}"}
    except OSError as error:
        result = {"failed": str(error)}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
