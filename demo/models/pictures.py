"""Pictures drawn by code, and what a search among them should find."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Canvas = NDArray[np.float64]

HEIGHT, WIDTH = 360, 480

_FOUND_BY = {
    "sunset": "sunset; an orange sky in the evening",
    "forest": "forest; dark green; dunkelgrüne Bäume",
    "meadow": "light green grass",
    "night sky": "night sky; very dark blue; ciel de nuit",
    "snow": "snow; bright white; neige",
    "strawberry": "strawberry; something red; Erdbeere",
    "lemon": "a yellow lemon; amarillo",
    "sea": "blue ocean; turquoise water; mar azul",
    "lavender": "light purple flowers",
    "fog": "grey",
    "chess board": "black and white",
    "balloons": "colourful",
}
SAMPLE_QUERIES = tuple((text, name) for name, texts in _FOUND_BY.items() for text in texts.split("; "))
"""Queries, each with the name of the sample picture that should rank first."""


def sample_pictures() -> dict[str, NDArray[np.uint8]]:
    """Drawn pictures by name, each (360, 480, 3), uint8, RGB; always the same."""
    return {name: _with_grain(canvas, seed) for seed, (name, canvas) in enumerate(_drawn())}


def _drawn() -> Iterator[tuple[str, Canvas]]:
    canvas = _gradient((90, 30, 80), (215, 80, 50), (242, 118, 30), (245, 135, 30), (250, 160, 50))
    _disc(canvas, (270, 240), (50, 50), (255, 225, 120))
    canvas[300:] = (80, 25, 35)
    yield "sunset", canvas

    canvas = _gradient((30, 100, 45), (12, 52, 22))
    for left in range(20, WIDTH, 80):
        canvas[120:, left : left + 14] = (60, 38, 20)
    yield "forest", canvas

    canvas = _gradient((110, 190, 90), (70, 170, 60))
    canvas[:70] = (150, 200, 245)
    yield "meadow", canvas

    canvas = _gradient((6, 8, 30), (18, 26, 80))
    stars = np.random.default_rng(7)
    canvas[stars.integers(0, HEIGHT, 150), stars.integers(0, WIDTH, 150)] = 255
    _disc(canvas, (70, 390), (24, 24), (240, 240, 220))
    yield "night sky", canvas

    canvas = _gradient((235, 240, 248), (252, 252, 254))
    canvas[:60] = (190, 205, 225)
    yield "snow", canvas

    canvas = _gradient((238, 236, 230))
    _disc(canvas, (200, 240), (155, 190), (208, 22, 36))
    _disc(canvas, (50, 240), (30, 110), (50, 140, 50))
    yield "strawberry", canvas

    canvas = _gradient((236, 232, 222))
    _disc(canvas, (180, 240), (130, 190), (246, 214, 30))
    yield "lemon", canvas

    yield "sea", _gradient((60, 150, 220), (10, 110, 150))

    canvas = _gradient((200, 165, 228), (150, 100, 190))
    canvas[300:] = (90, 130, 70)
    yield "lavender", canvas

    yield "fog", _gradient((190, 190, 192), (110, 112, 114))

    y, x = np.mgrid[:HEIGHT, :WIDTH] // 60
    yield "chess board", np.where(((x + y) % 2)[..., None], 246.0, 12.0) * np.ones(3)

    canvas = _gradient((225, 225, 228))
    upper = (220, 30, 40), (250, 140, 20), (245, 215, 30), (40, 160, 60)
    lower = (20, 175, 180), (40, 90, 215), (140, 50, 175), (238, 85, 160)
    for i, color in enumerate((*upper, *lower)):
        _disc(canvas, (90 + 180 * (i // 4), 60 + 120 * (i % 4)), (80, 56), color)
    yield "balloons", canvas


def _gradient(*colors: Color) -> Canvas:
    """Colours at equal distances from top to bottom."""
    stops = np.linspace(0, HEIGHT, len(colors))
    rows = [np.interp(np.arange(HEIGHT), stops, channel) for channel in zip(*colors, strict=True)]
    return np.repeat(np.stack(rows, axis=-1)[:, None], WIDTH, axis=1)


def _disc(canvas: Canvas, center: tuple[int, int], radii: tuple[int, int], color: Color) -> None:
    """An upright ellipse on the canvas; `center` and `radii` as (down, across)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    canvas[((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1] = color


def _with_grain(canvas: Canvas, seed: int) -> NDArray[np.uint8]:
    grain = np.random.default_rng(seed).integers(-6, 7, canvas.shape)
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)
