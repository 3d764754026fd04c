"""Stand-ins: models of the sizes of Immich's default ones, with random weights, so that anyone can measure.

They take the time and the memory of the published models and need no download. What they answer means nothing, but
that faces are found where `demo.models.faces` drew them. OCR needs none: `demo-ocr` is a real one.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import SetupError
from adapter.protocol import TaskName
from bench.standins import clip, faces
from demo.models import place

VERSION = "1\n"
"""Raised when the same code writes something else."""

VERSION_FILE = "version.txt"


@dataclass(frozen=True)
class StandIn:
    """A model that can be built, of `size_mb` on the disk, rounded up."""

    task: TaskName
    name: str
    build: Callable[[Path], None]
    size_mb: int


STANDINS = (
    StandIn(TaskName.CLIP, clip.NAME, clip.build, 607),
    StandIn(TaskName.FACES, faces.NAME, faces.build, 192),
)


def build_standins(cache: Path, say: Callable[[str], None]) -> None:
    """Makes sure that the stand-ins lie in `cache`, in the layout of Immich's: each whole, or not at all.

    Args:
        say: told what is written, and how large it is, before it is.

    Raises:
        SetupError: they cannot be written, for want of room or otherwise.
    """
    try:
        for standin in STANDINS:
            _ensure(standin, cache / standin.task / standin.name, say)
    except OSError as error:
        raise SetupError(f"The stand-ins cannot be written to {cache}: {error}.") from error


def _ensure(standin: StandIn, folder: Path, say: Callable[[str], None]) -> None:
    if _version(folder) == VERSION:
        say(f"{folder} is there")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(folder.parent).free // 10**6
    if free_mb < standin.size_mb:
        raise SetupError(
            f"{folder} needs {standin.size_mb} MB, and {free_mb} MB are free. Make room, or name another folder."
        )
    say(f"writing {folder}, {standin.size_mb} MB")
    place(folder, lambda new: _build(standin, new))


def _build(standin: StandIn, folder: Path) -> None:
    standin.build(folder)
    (folder / VERSION_FILE).write_text(VERSION)


def _version(folder: Path) -> str | None:
    try:
        return (folder / VERSION_FILE).read_text()
    except FileNotFoundError:
        return None
