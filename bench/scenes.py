"""Pictures made by code that cost as much as real ones: photos, group photos and pages, as Immich's previews."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.models.faces import IDENTITIES, draw_face
from demo.models.pictures import sample_pictures
from demo.show.page import draw_page

LONG_SIDE = 1440
QUALITY = 80
LANDSCAPE, PORTRAIT = (1440, 1080), (1080, 1440)

DETAIL = ((5, 40.0), (20, 22.0), (90, 12.0), (360, 7.0))
"""Cells across and strength in levels: contrast falls with size, as it does in photos."""
PLACES = ((300, 330), (620, 560), (940, 300), (1180, 640))
"""Middles of the faces of a group photo, (x, y) of 1440 x 1080."""
FACE_SIZES = (170, 330)

PAGE_SIZE = (1020, 1440)
PAGE_LINES = 24
WORDS = """
    the harbour office opens at seven and closes after the last ferry has left for Lindholm every day of the year
    please send copies of both invoices no. 4417 and 4418 with the delivery note of March 14 to our address in Oslo
    total amount due 1,284.50 EUR within thirty days; for questions call +47 22 85 50 50 between nine and noon
    rain is expected from the west with strong winds near the coast, and temperatures will fall below ten degrees
""".split()


def preview(image: Image.Image) -> bytes:
    """A picture as Immich sends it: JPEG, at most 1440 px long."""
    image = image.convert("RGB")
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    return jpeg(image)


def jpeg(image: Image.Image) -> bytes:
    """An RGB picture in the quality of Immich's previews."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def photos(count: int) -> Iterator[Image.Image]:
    """Pictures with the detail of photos, every third of them upright: previews of 150 to 400 KB."""
    scenes = list(sample_pictures().values())
    for number in range(count):
        size = PORTRAIT if number % 3 == 2 else LANDSCAPE
        yield _with_detail(Image.fromarray(scenes[number % len(scenes)]).resize(size), number)


def group_photos(count: int) -> Iterator[Image.Image]:
    """Photos of four drawn people each, near and far."""
    for number, photo in enumerate(photos(count)):
        rng = np.random.default_rng(number)
        canvas = np.array(photo.resize(LANDSCAPE))
        for place in PLACES:
            draw_face(canvas, place, float(rng.uniform(*FACE_SIZES)), int(rng.integers(IDENTITIES)))
        yield Image.fromarray(canvas)


def pages(count: int) -> Iterator[Image.Image]:
    """Densely printed pages of 24 lines each."""
    for number in range(count):
        rng = np.random.default_rng(number)
        lines = [" ".join(rng.choice(WORDS, int(rng.integers(9, 15)))) for _ in range(PAGE_LINES)]
        yield Image.fromarray(draw_page(lines, PAGE_SIZE, font_size=23))


def _with_detail(image: Image.Image, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    levels = np.asarray(image, np.float32)
    for cells, strength in DETAIL:
        levels = levels + _waves(rng, cells, image.size)[..., None] * np.float32(strength)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def _waves(rng: np.random.Generator, cells: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Soft noise (height, width) about zero: `cells` waves along each side."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
