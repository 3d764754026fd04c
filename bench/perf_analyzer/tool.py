"""Which perf_analyzer this host has."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from adapter.errors import SetupError

NAME = "perf_analyzer"
SHARED_TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "perf-analyzer"
SDK_IMAGE = "nvcr.io/nvidia/tritonserver:26.07-py3-sdk"
"""NVIDIA's clients for the server of docker-compose.yml."""


def find_tool(
    folder: Path, which: Callable[[str], str | None] = shutil.which, shared: Path = SHARED_TOOL
) -> list[str]:
    """The beginning of a command line that runs perf_analyzer: from the PATH, from `shared`, or in its container.

    Args:
        folder: where it will run, read and write.

    Raises:
        SetupError: there is none.
    """
    if found := which(NAME) or (str(shared) if shared.exists() else None):
        return [found]
    if docker := which("docker"):
        user = f"{os.getuid()}:{os.getgid()}"
        place = ("--volume", f"{folder}:{folder}", "--workdir", str(folder))
        return [docker, "run", "--rm", "--net", "host", "--user", user, *place, SDK_IMAGE, NAME]
    raise SetupError(
        "perf_analyzer is not on the PATH, and neither is docker, which could run it. "
        "Install it with: pip install perf-analyzer"
    )
