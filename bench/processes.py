"""The memory of a service's processes, each named by what it does."""

import re
from collections.abc import Sequence
from contextlib import suppress

import psutil

from adapter.compare import processes

_INSTANCE = re.compile(r"(?P<model>.+)_\d+_\d+")


def memory_mb(url: str) -> dict[str, float]:
    """By what they are (`adapter`, `tritonserver`, or the Triton model that a stub runs), in 10^6 bytes.

    Each process counts with its share (PSS) of what several of them map, so that the shares can be added up.
    """
    found: dict[str, float] = {}
    for index, process in enumerate(processes.find(url)):
        with suppress(psutil.Error):
            name = name_of(process.name(), process.cmdline()) if index else "adapter"
            found[name] = found.get(name, 0.0) + process.memory_full_info().pss / 1e6
    return found


def name_of(program: str, command_line: Sequence[str]) -> str:
    """What a process is to the reader: a stub is named by the Triton model that it runs.

    Args:
        program: the executable's name, which Linux cuts at 15 characters.
    """
    if program.startswith("triton_python"):
        instances = (_INSTANCE.fullmatch(argument) for argument in command_line[1:])
        return next((found["model"] for found in instances if found), program)
    return program
