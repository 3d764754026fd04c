"""`stand-in-buffalo_l`: a detector of SCRFD-10G's size and a recogniser of ArcFace R50's."""

from pathlib import Path

from adapter.protocol import GRAPH
from bench.standins import arcface, scrfd

NAME = "stand-in-buffalo_l"


def build(folder: Path) -> None:
    """Writes the model into `folder`, in the layout of Immich's cache; the same bytes every time."""
    for part, model in (("detection", scrfd.model), ("recognition", arcface.model)):
        (folder / part).mkdir(parents=True)
        (folder / part / GRAPH).write_bytes(model(NAME).SerializeToString(deterministic=True))
