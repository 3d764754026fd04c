"""Group photos of drawn people that `demo-face` and the stand-in detector find; the rest is as in `compare`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from adapter.compare import pictures
from adapter.compare.workload import Kind
from demo.models.faces import IDENTITIES, draw_face

GROUPS = 3
PLACES = ((300, 330), (620, 560), (940, 300), (1180, 640))
"""Middles of the faces, (x, y) of 1440 x 1080."""
FACE_SIZES = (170, 330)


def choose(folder: Path | None) -> Mapping[Kind, Mapping[str, bytes]]:
    """The user's own pictures, or drawn ones."""
    return pictures.own(folder) if folder else {**pictures.drawn(), Kind.GROUPS: _groups()}


def _groups() -> dict[str, bytes]:
    """Photos of four people each, near and far."""
    found = {}
    for number, photo in enumerate(pictures.photos(GROUPS)):
        rng = np.random.default_rng(number)
        canvas = np.array(photo.resize(pictures.SIZE))
        for place in PLACES:
            draw_face(canvas, place, float(rng.uniform(*FACE_SIZES)), int(rng.integers(IDENTITIES)))
        found[str(number + 1)] = pictures.preview(Image.fromarray(canvas))
    return found
