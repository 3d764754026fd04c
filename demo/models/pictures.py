"""Pictures drawn by code, and what a search among them should find."""

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Canvas = NDArray[np.float64]

HEIGHT, WIDTH = 360, 480

SAMPLE_QUERIES = (
    ("sunset", "sunset"),
    ("an orange sky in the evening", "sunset"),
    ("forest", "forest"),
    ("dark green", "forest"),
    ("light green grass", "meadow"),
    ("night sky", "night sky"),
    ("very dark blue", "night sky"),
    ("snow", "snow"),
    ("bright white", "snow"),
    ("strawberry", "strawberry"),
    ("something red", "strawberry"),
    ("a yellow lemon", "lemon"),
    ("blue ocean", "sea"),
    ("turquoise water", "sea"),
    ("light purple flowers", "lavender"),
    ("grey", "fog"),
    ("black and white", "chess board"),
    ("colourful", "balloons"),
    ("dunkelgrüne Bäume", "forest"),
    ("Erdbeere", "strawberry"),
    ("ciel de nuit", "night sky"),
    ("neige", "snow"),
    ("amarillo", "lemon"),
    ("mar azul", "sea"),
)
"""Queries, each with the name of the sample picture that should rank first."""


def sample_pictures() -> dict[str, NDArray[np.uint8]]:
    """Drawn pictures by name, each (360, 480, 3), uint8, RGB; always the same."""
    drawn = {
        "sunset": _sunset(),
        "forest": _forest(),
        "meadow": _meadow(),
        "night sky": _night_sky(),
        "snow": _snow(),
        "strawberry": _strawberry(),
        "lemon": _disc(_plain((236, 232, 222)), (180, 240), (130, 190), (246, 214, 30)),
        "sea": _gradient((60, 150, 220), (10, 110, 150)),
        "lavender": _lavender(),
        "fog": _gradient((190, 190, 192), (110, 112, 114)),
        "chess board": _chess_board(),
        "balloons": _balloons(),
    }
    return {name: _with_grain(canvas, seed) for seed, (name, canvas) in enumerate(drawn.items())}


def _sunset() -> Canvas:
    canvas = _gradient((90, 30, 80), (215, 80, 50), (242, 118, 30), (245, 135, 30), (250, 160, 50))
    canvas = _disc(canvas, (270, 240), (50, 50), (255, 225, 120))
    canvas[300:] = (80, 25, 35)
    return canvas


def _forest() -> Canvas:
    canvas = _gradient((30, 100, 45), (12, 52, 22))
    for left in range(20, WIDTH, 80):
        canvas[120:, left : left + 14] = (60, 38, 20)
    return canvas


def _meadow() -> Canvas:
    canvas = _gradient((110, 190, 90), (70, 170, 60))
    canvas[:70] = (150, 200, 245)
    return canvas


def _night_sky() -> Canvas:
    canvas = _gradient((6, 8, 30), (18, 26, 80))
    stars = np.random.default_rng(7)
    canvas[stars.integers(0, HEIGHT, 150), stars.integers(0, WIDTH, 150)] = 255
    return _disc(canvas, (70, 390), (24, 24), (240, 240, 220))


def _snow() -> Canvas:
    canvas = _gradient((235, 240, 248), (252, 252, 254))
    canvas[:60] = (190, 205, 225)
    return canvas


def _strawberry() -> Canvas:
    canvas = _disc(_plain((238, 236, 230)), (200, 240), (155, 190), (208, 22, 36))
    return _disc(canvas, (50, 240), (30, 110), (50, 140, 50))


def _lavender() -> Canvas:
    canvas = _gradient((200, 165, 228), (150, 100, 190))
    canvas[300:] = (90, 130, 70)
    return canvas


def _chess_board() -> Canvas:
    y, x = np.mgrid[:HEIGHT, :WIDTH] // 60
    return np.where(((x + y) % 2)[..., None], 246.0, 12.0) * np.ones(3)


def _balloons() -> Canvas:
    colors = [
        (220, 30, 40),
        (250, 140, 20),
        (245, 215, 30),
        (40, 160, 60),
        (20, 175, 180),
        (40, 90, 215),
        (140, 50, 175),
    ]
    canvas = _plain((225, 225, 228))
    for i, color in enumerate((*colors, (238, 85, 160))):
        canvas = _disc(canvas, (90 + 180 * (i // 4), 60 + 120 * (i % 4)), (80, 56), color)
    return canvas


def _plain(color: Color) -> Canvas:
    return np.tile(np.array(color, float), (HEIGHT, WIDTH, 1))


def _gradient(*colors: Color) -> Canvas:
    """Colours at equal distances from top to bottom."""
    stops = np.linspace(0, HEIGHT, len(colors))
    rows = [np.interp(np.arange(HEIGHT), stops, channel) for channel in zip(*colors, strict=True)]
    return np.repeat(np.stack(rows, axis=-1)[:, None], WIDTH, axis=1)


def _disc(canvas: Canvas, center: tuple[int, int], radii: tuple[int, int], color: Color) -> Canvas:
    """An upright ellipse on the canvas; `center` and `radii` as (down, across)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1
    return np.where(inside[..., None], np.array(color, float), canvas)


def _with_grain(canvas: Canvas, seed: int) -> NDArray[np.uint8]:
    grain = np.random.default_rng(seed).integers(-6, 7, canvas.shape)
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)
