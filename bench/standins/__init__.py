"""Stand-ins: models of the sizes of Immich's default ones, with random weights, so that anyone can measure.

They take the time and the memory of the published models and need no download. What they answer means nothing, but
that faces are found where `demo.models.faces` drew them. OCR needs none: `demo-ocr` is a real one.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from adapter.errors import SetupError
from adapter.protocol import GRAPH, TaskName
from bench.standins import arcface, clip, scrfd
from demo.models import place

CLIP, FACES = clip.NAME, "stand-in-buffalo_l"


def build(cache: Path, names: Collection[str], say: Callable[[str], None]) -> None:
    """Makes sure that these stand-ins, of all names, lie in `cache`, in the layout of Immich's. What is there stays.

    Args:
        say: told what is written before it is.

    Raises:
        SetupError: they cannot be written, for want of room or otherwise.
    """
    for task, name, write in ((TaskName.CLIP, CLIP, clip.write), (TaskName.FACES, FACES, write_faces)):
        if name in names and not (folder := cache / task / name).exists():
            say(f"writing {folder}, some hundred MB")
            try:
                place(folder, write)
            except OSError as error:
                raise SetupError(f"{folder} cannot be written: {error}.") from error


def write_faces(folder: Path) -> None:
    """A detector of SCRFD-10G's size and a recogniser of ArcFace R50's; the same bytes every time."""
    for part, model in (("detection", scrfd.model), ("recognition", arcface.model)):
        (folder / part).mkdir(parents=True)
        (folder / part / GRAPH).write_bytes(model(FACES).SerializeToString(deterministic=True))
