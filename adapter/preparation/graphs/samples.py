"""Made-up inputs that a rewritten graph is proven with: always the same, all different from each other."""

import cv2
import numpy as np
from numpy.typing import NDArray

COUNT = 3
TEXTS = (
    "a photo of a dog",
    "red",
    "two people at a table in a restaurant by the sea at night",
    "birthday",
    "Grandma's garden, 1987",
    "ein Kind auf einem Fahrrad",
    "black and white portrait of an old man with a hat",
    "車と猫",
)
LONG_TEXT = " ".join(TEXTS * 5)
"""More tokens than any model takes."""

_CELLS = (8, 8, 8, 1, 3, 6, 16, 48)
MOST = len(_CELLS)


def pictures(height: int, width: int, count: int = COUNT) -> list[NDArray[np.uint8]]:
    """Soft coloured fields with grain, each (height, width, 3), uint8, RGB: nearer to photos than noise is."""
    cells = enumerate(_CELLS[:count])
    return [_picture(np.random.default_rng(seed), side, height, width) for seed, side in cells]


def written(text: str, height: int, width: int) -> NDArray[np.uint8]:
    """A page with a text in dark on a light ground, over and over, 48 px a line: (height, width, 3), uint8, RGB."""
    page = np.full((height, width, 3), 230, np.uint8)
    for baseline in range(34, height, 48):
        cv2.putText(page, text, (6, baseline), cv2.FONT_HERSHEY_SIMPLEX, 1, (13, 20, 40), 2, cv2.LINE_AA)
    return page


def _picture(rng: np.random.Generator, cells: int, height: int, width: int) -> NDArray[np.uint8]:
    field = rng.integers(0, 256, (cells, cells, 3))
    rows = np.linspace(0, cells - 1, height).astype(int)
    columns = np.linspace(0, cells - 1, width).astype(int)
    grain = rng.normal(0, 12, (height, width, 3))
    pixels: NDArray[np.uint8] = np.clip(field[rows][:, columns] + grain, 0, 255).astype(np.uint8)
    return pixels
