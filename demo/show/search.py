"""Smart search: drawn pictures are encoded, and texts find them."""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from adapter.compare.client import Service
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from demo.models.clip import NAME
from demo.models.pictures import SAMPLE_QUERIES, sample_pictures
from demo.show import ask

SHOWN = 3


async def show(service: Service, console: Console) -> None:
    """Prints what the texts find.

    Raises:
        SetupError: a text does not find the picture that it describes.
    """
    table = Table("picture", "size", "time", title=f"Pictures, encoded by {NAME}")
    pictures = {}
    for name, pixels in sample_pictures().items():
        answer, took = await ask(service, Kind.PICTURES, NAME, pixels)
        pictures[name] = _vector(answer)
        table.add_row(name, f"{answer['imageWidth']} x {answer['imageHeight']}", took)
    console.print(table)

    places = (f"{place + 1}." for place in range(SHOWN))
    table, right = Table("text", *places, "time", title="Texts, and what they find"), 0
    for text, expected in SAMPLE_QUERIES:
        answer, took = await ask(service, Kind.TEXTS, NAME, text=text)
        cosines = {name: float(vector @ _vector(answer)) for name, vector in pictures.items()}
        ranking = sorted(cosines, key=lambda name: -cosines[name])
        right += ranking[0] == expected
        table.add_row(text, *(f"{name} {cosines[name]:.2f}" for name in ranking[:SHOWN]), took)
    console.print(table)
    console.print(f"{right} of {len(SAMPLE_QUERIES)} texts find the picture that they describe.")
    if right < len(SAMPLE_QUERIES):
        raise SetupError("the search is not as it should be")


def _vector(answer: Mapping[str, str]) -> NDArray[np.float32]:
    return np.array(json.loads(answer["clip"]), np.float32)  # of length 1
