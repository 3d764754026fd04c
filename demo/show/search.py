"""Smart search: drawn pictures are encoded, and texts find them."""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from adapter.compare.pictures import preview
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from demo.models.clip import NAME
from demo.models.pictures import SAMPLE_QUERIES, sample_pictures
from demo.show.client import Client

SHOWN = 3

Vector = NDArray[np.float32]


async def show(client: Client, console: Console) -> None:
    """Prints what the texts find.

    Raises:
        SetupError: a text does not find the picture that it describes.
    """
    await _search(client, await _encode_pictures(client, console), console)


async def _encode_pictures(client: Client, console: Console) -> dict[str, Vector]:
    table = Table("picture", "size", "ms", title=f"Pictures, encoded by {NAME}")
    vectors = {}
    for name, pixels in sample_pictures().items():
        answer, ms = await client.predict(Kind.PICTURES, NAME, image=preview(Image.fromarray(pixels)))
        vectors[name] = _vector(answer)
        table.add_row(name, f"{answer['imageWidth']} x {answer['imageHeight']}", f"{ms:.0f}")
    console.print(table)
    return vectors


async def _search(client: Client, pictures: Mapping[str, Vector], console: Console) -> None:
    table = Table(
        "text", *(f"{place + 1}." for place in range(SHOWN)), "ms", title="Texts, and what they find"
    )
    right = 0
    for text, expected in SAMPLE_QUERIES:
        answer, ms = await client.predict(Kind.TEXTS, NAME, text=text)
        ranking = rank(_vector(answer), pictures)
        right += ranking[0][0] == expected
        table.add_row(text, *(f"{name} {score:.2f}" for name, score in ranking[:SHOWN]), f"{ms:.0f}")
    console.print(table)
    console.print(f"{right} of {len(SAMPLE_QUERIES)} texts find the picture that they describe.")
    if right < len(SAMPLE_QUERIES):
        raise SetupError("the search is not as it should be")


def rank(text: Vector, pictures: Mapping[str, Vector]) -> list[tuple[str, float]]:
    """The pictures by cosine to the text, best first. All vectors (D,) are of length 1."""
    scores = {name: float(vector @ text) for name, vector in pictures.items()}
    return sorted(scores.items(), key=lambda item: -item[1])


def _vector(answer: Mapping[str, str]) -> Vector:
    return np.array(json.loads(answer["clip"]), np.float32)
