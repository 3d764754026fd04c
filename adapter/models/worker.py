"""Preparation in a process of its own: it takes seconds of Python and gigabytes of memory."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from adapter.errors import ModelUnavailable
from adapter.models.families import FAMILIES
from adapter.models.repository import Preferences, Prepared, find_prepared, prepare, read_prepared
from adapter.protocol import Part, TaskName, TypeName


async def prepare_apart(part: Part, source: Path, repository: Path, preferences: Preferences) -> Prepared:
    """Prepares a part unless that is done already.

    Raises:
        ModelUnavailable: it cannot be done; the message says why.
    """
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
    if process.returncode == 0:
        return read_prepared(json.loads(output))
    reason = errors.decode(errors="replace").strip().splitlines()[-1:] or [
        f"its process ended with {process.returncode}; was there too little memory?"
    ]
    raise ModelUnavailable(f"{part} cannot be prepared: {reason[0]}")


def main() -> None:
    job = json.loads(sys.argv[1])
    part = Part(TaskName(job["part"]["task"]), TypeName(job["part"]["type"]), job["part"]["name"])
    prepared = prepare(
        part,
        Path(job["source"]),
        Path(job["repository"]),
        FAMILIES[part.task, part.type],
        Preferences(**job["preferences"]),
    )
    json.dump(asdict(prepared), sys.stdout)


if __name__ == "__main__":
    main()
