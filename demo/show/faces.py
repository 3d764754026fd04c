"""Faces: drawn people are found in a picture, and told apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from adapter.compare.pictures import preview
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from demo.models.face_graphs import NAME
from demo.models.faces import draw_face
from demo.models.pictures import sample_pictures
from demo.show.client import Client

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


async def show(client: Client, console: Console, path: Path) -> None:
    """Prints the faces found in a drawn picture, and writes it with their boxes to `path`.

    Raises:
        SetupError: not all faces are found, or not told apart.
    """
    picture = draw_crowd()
    answer, ms = await client.predict(Kind.GROUPS, NAME, image=preview(Image.fromarray(picture)))
    faces = answer["facial-recognition"]
    people = group(faces)
    table = Table("face", "x", "y", "size", "score", "person", title=f"Faces, found by {NAME} in {ms:.0f} ms")
    for number, (face, person) in enumerate(zip(faces, people, strict=True)):
        box = face["boundingBox"]
        size = f"{box['x2'] - box['x1']:.0f} x {box['y2'] - box['y1']:.0f}"
        place = f"{box['x1']:.0f}", f"{box['y1']:.0f}"
        table.add_row(str(number + 1), *place, size, f"{face['score']:.2f}", f"person {person + 1}")
    console.print(table)
    _annotate(picture, faces, people).save(path)
    console.print(f"{len(faces)} faces of {len(set(people))} people; drawn in {path}")
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
    vectors = [np.array(json.loads(face["embedding"]), np.float32) for face in faces]
    units = [vector / np.linalg.norm(vector) for vector in vectors]
    people: list[int] = []
    for number, unit in enumerate(units):
        like = [people[other] for other in range(number) if unit @ units[other] > SAME_PERSON]
        people.append(like[0] if like else max(people, default=-1) + 1)
    return people


def _annotate(
    pixels: NDArray[np.uint8], faces: Sequence[dict[str, Any]], people: Sequence[int]
) -> Image.Image:
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    for face, person in zip(faces, people, strict=True):
        box = face["boundingBox"]
        pen.rectangle([box["x1"], box["y1"], box["x2"], box["y2"]], outline="white", width=3)
        pen.text((box["x1"], box["y1"] - 28), f"person {person + 1}", fill="white", font_size=24)
    return picture
