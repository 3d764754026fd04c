"""Measures public models with perf_analyzer: loads one, writes its input file, runs it, reads what it wrote."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from adapter.protocol import Part
from adapter.service import open_service
from adapter.settings import Settings
from bench.perf_analyzer.figures import FILE, Figures, read
from bench.perf_analyzer.inputs import input_data
from bench.perf_analyzer.tool import find_tool

INPUT_FILE = "input.json"
QUICK = ("--measurement-interval", "2000", "--stability-percentage", "50", "--max-trials", "10")
"""Three windows of two seconds that differ by no more than half: its own defaults take minutes for a slow model."""


@dataclass(frozen=True)
class Measured:
    """A model, and what perf_analyzer found.

    Attributes:
        trouble: its last words, where it ended early.
    """

    model: str
    figures: Sequence[Figures]
    trouble: str | None = None


async def measure(
    settings: Settings, parts: Sequence[Part], options: Sequence[str], log: Path
) -> AsyncIterator[Measured]:
    """Each part in turn, loaded in a service of its own.

    Args:
        options: further ones of perf_analyzer, which overrule `QUICK`.
        log: file for perf_analyzer's own words.

    Raises:
        SetupError: there is no perf_analyzer, or no Triton.
    """
    find_tool(log.parent)
    async with open_service(settings) as service:
        for part in parts:
            model = (await service.registry.get(part)).model
            with tempfile.TemporaryDirectory(prefix="perf-analyzer-") as scratch:
                folder = Path(scratch)
                (folder / INPUT_FILE).write_text(json.dumps(input_data(part)))
                target = ("-m", model, "-u", urlsplit(service.triton.url).netloc)
                trouble = await _run(folder, (*target, *QUICK, *options), log)
                yield Measured(model, read(folder, model), trouble)


async def _run(folder: Path, options: Sequence[str], log: Path) -> str | None:
    """Runs perf_analyzer in a folder; returns its last words if it failed."""
    command = (*find_tool(folder), *options, "--input-data", INPUT_FILE, "-f", FILE)
    with log.open("ab") as words:
        start = words.tell()
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=words, stderr=words
        )
        try:
            failed = await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
    return _last_line(log, start) if failed else None


def _last_line(log: Path, start: int) -> str:
    return log.read_bytes()[start:].decode(errors="replace").strip().rpartition("\n")[2]
