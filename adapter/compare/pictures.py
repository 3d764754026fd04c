"""Pictures to send: the user's own, or drawn ones that cost as much as photos, group photos and pages do."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from adapter.compare.workload import Kind, Pictures
from adapter.errors import SetupError

DrawFace = Callable[[NDArray[np.uint8], tuple[float, float], float, int], None]
"""Draws a face into a picture (h, w, 3): its middle (x, y), its size in pixels, and who it is."""

LONG_SIDE, QUALITY = 1440, 80
"""Of Immich's previews."""
MOST_OWN_PICTURES = 24
PHOTOS, GROUPS, PAGES = 8, 3, 3
SIZE = (1440, 1080)

DETAIL = ((3, 60.0), (20, 22.0), (90, 12.0), (360, 7.0))
"""Cells across and strength in levels: contrast falls with size, as it does in photos."""

PLACES = ((300, 330, 230), (620, 600, 310), (940, 300, 220), (1180, 700, 280))
"""Middles and sizes of the faces of a group photo, (x, y, size)."""
LOOKS = (
    ("#e0ac8c", "#b38a70", "#462d1e"), ("#f0c8a8", "#c0a086", "#8a6030"),
    ("#a87450", "#865d40", "#1c1614"), ("#d0a080", "#a68066", "#504844"),
)  # fmt: skip
"""Colours of skin, of its shadows and of hair."""
FACE = (
    (0, -0.10, 0.43, 0.52, "hair"), (0, 0.05, 0.36, 0.48, "skin"),
    (-0.15, -0.15, 0.09, 0.018, "hair"), (0.15, -0.15, 0.09, 0.018, "hair"),
    (-0.15, -0.05, 0.075, 0.04, "white"), (0.15, -0.05, 0.075, 0.04, "white"),
    (-0.15, -0.05, 0.035, 0.038, "#322319"), (0.15, -0.05, 0.035, 0.038, "#322319"),
    (0, 0.10, 0.035, 0.10, "shade"), (0, 0.09, 0.028, 0.09, "skin"),
    (-0.03, 0.16, 0.025, 0.018, "shade"), (0.03, 0.16, 0.025, 0.018, "shade"),
    (0, 0.29, 0.13, 0.04, "#aa4646"), (0, 0.285, 0.12, 0.008, "#6e2828"),
)  # fmt: skip
"""Ellipses, (x, y, half width, half height, colour), in sizes of the face: enough for a real detector to see one."""

PAGE_SIZE, MARGIN, FONT_SIZE, LINES = (1020, 1440), 64, 23, 24
WORDS = """
    the harbour office opens at seven and closes after the last ferry has left for Lindholm every day of the year
    please send copies of both invoices no. 4417 and 4418 with the delivery note of March 14 to our address in Oslo
    total amount due 1,284.50 EUR within thirty days; for questions call +47 22 85 50 50 between nine and noon
    rain is expected from the west with strong winds near the coast, and temperatures will fall below ten degrees
""".split()


def own(folder: Path) -> Pictures:
    """Previews of pictures spread evenly over a folder, by file name; for every kind the same.

    Raises:
        SetupError: there is none.
    """
    known = Image.registered_extensions()
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in known]
    previews = {}
    for path in found[:: max(1, len(found) // MOST_OWN_PICTURES)][:MOST_OWN_PICTURES]:
        with suppress(OSError), Image.open(path) as image:  # what is no picture is left out
            previews[str(path.relative_to(folder))] = preview(image)
    if not previews:
        raise SetupError(f"There is no picture in {folder}.")
    return dict.fromkeys(Kind, previews)


def drawn(draw_face: DrawFace | None = None) -> Pictures:
    """Pictures of each kind, always the same.

    Args:
        draw_face: in the place of our own way.
    """
    groups = _groups(draw_face or _draw_face)
    pictures = {Kind.PICTURES: _photos(PHOTOS), Kind.GROUPS: groups, Kind.PAGES: _pages()}
    return {
        kind: {str(number): preview(image) for number, image in enumerate(images, 1)}
        for kind, images in pictures.items()
    }


def preview(image: Image.Image) -> bytes:
    """A picture as Immich sends it: JPEG, at most 1440 px long."""
    image = image.convert("RGB")
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _photos(count: int) -> Iterator[Image.Image]:
    """Pictures with the colours and the detail of photos, every third of them upright."""
    for number in range(count):
        rng = np.random.default_rng(number)
        size = SIZE[::-1] if number % 3 == 2 else SIZE
        levels = np.stack([_waves(rng, 2, size) for _ in range(3)], axis=-1) * 40  # (height, width, 3)
        levels += rng.uniform(60, 190, 3).astype(np.float32)
        for cells, strength in DETAIL:
            levels += _waves(rng, cells, size)[..., None] * np.float32(strength)
        yield Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def _groups(draw_face: DrawFace) -> Iterator[Image.Image]:
    for number, photo in enumerate(_photos(GROUPS)):
        canvas = np.array(photo.resize(SIZE))
        for place, (x, y, size) in enumerate(PLACES):
            draw_face(canvas, (x, y), size, len(PLACES) * number + place)
        yield Image.fromarray(canvas)


def _draw_face(canvas: NDArray[np.uint8], center: tuple[float, float], size: float, identity: int) -> None:
    side = int(2 * size)
    face = Image.new("RGBA", (side, side))  # twice as wide as the face, transparent around it
    pen = ImageDraw.Draw(face)
    colors = dict(zip(("skin", "shade", "hair"), LOOKS[identity % len(LOOKS)], strict=True))
    for x, y, half_width, half_height, color in FACE:
        low = (1 + x - half_width) * size, (1 + y - half_height) * size
        high = (1 + x + half_width) * size, (1 + y + half_height) * size
        pen.ellipse((*low, *high), fill=colors.get(color, color))
    face = face.filter(ImageFilter.GaussianBlur(size / 30))
    picture = Image.fromarray(canvas)
    picture.paste(face, (int(center[0] - size), int(center[1] - size)), face)
    canvas[:] = np.asarray(picture)


def _pages() -> Iterator[Image.Image]:
    """Densely printed pages."""
    for number in range(PAGES):
        rng = np.random.default_rng(number)
        lines = [" ".join(rng.choice(WORDS, int(rng.integers(9, 15)))) for _ in range(LINES)]
        yield page(lines, PAGE_SIZE, FONT_SIZE)


def page(lines: Sequence[str], size: tuple[int, int], font_size: int) -> Image.Image:
    """A page (width, height) with lines at equal distances."""
    image = Image.new("RGB", size, (250, 248, 240))
    pen = ImageDraw.Draw(image)
    pitch = (size[1] - 2 * MARGIN) / len(lines)
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + pitch * number), line, fill=(30, 30, 60), font_size=font_size)
    return image


def _waves(rng: np.random.Generator, cells: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Soft noise (height, width) about zero: `cells` waves along each side."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
