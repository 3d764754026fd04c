"""Faces: drawn people are found in a picture, and told apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console

from adapter.cli.predict import tables
from adapter.compare.client import Service
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from demo.models.face_graphs import NAME
from demo.models.faces import draw_face
from demo.models.pictures import sample_pictures
from demo.show import ask

SAME_PERSON = 0.6
"""Cosine of two faces' vectors from which they count as one person here."""

CROWD = (
    ((170, 250), 130, "Ann"),
    ((420, 300), 200, "Bob"),
    ((700, 240), 110, "Ann"),
    ((830, 420), 160, "Cleo"),
)
"""Centre and diameter in pixels, and who it is."""

IDENTITIES = {"Ann": 3, "Bob": 11, "Cleo": 19}


async def show(service: Service, console: Console, path: Path) -> None:
    """Prints the faces found in a drawn picture, and writes it with their boxes to `path`.

    Raises:
        SetupError: not all faces are found, or not told apart.
    """
    picture = draw_crowd()
    answer, took = await ask(service, Kind.GROUPS, NAME, picture)
    console.print(*tables(answer))
    faces = answer["facial-recognition"]
    people = group(faces)
    _annotate(picture, faces, people).save(path)
    console.print(
        f"{len(faces)} faces of {len(set(people))} people, found by {NAME} in {took}; drawn in {path}"
    )
    if (len(faces), len(set(people))) != (len(CROWD), len(IDENTITIES)):
        raise SetupError(f"there are {len(CROWD)} faces of {len(IDENTITIES)} people")


def draw_crowd() -> NDArray[np.uint8]:
    """A picture (720, 960, 3), uint8, RGB, with the faces of `CROWD`."""
    canvas = np.array(Image.fromarray(sample_pictures()["meadow"]).resize((960, 720)))
    for center, size, name in CROWD:
        draw_face(canvas, center, size, IDENTITIES[name])
    return canvas


def group(faces: Sequence[dict[str, Any]]) -> list[int]:
    """Which person each face is: that of the first face that is like it."""
    vectors = np.array([json.loads(face["embedding"]) for face in faces])
    units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    first_alike = ((units @ units.T) > SAME_PERSON).argmax(axis=1)  # at the latest itself
    return [sorted(set(first_alike)).index(first) for first in first_alike]


def _annotate(
    pixels: NDArray[np.uint8], faces: Sequence[dict[str, Any]], people: Sequence[int]
) -> Image.Image:
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    for face, person in zip(faces, people, strict=True):
        left, top, right, bottom = (face["boundingBox"][corner] for corner in ("x1", "y1", "x2", "y2"))
        pen.rectangle([left, top, right, bottom], outline="white", width=3)
        pen.text((left, top - 28), f"person {person + 1}", fill="white", font_size=24)
    return picture
