"""Made-up inputs that a rewritten graph is proven with: always the same, all different from each other."""

import numpy as np
from numpy.typing import NDArray

COUNT = 3
TEXTS = ("a photo of a dog", "red", "two people at a table in a restaurant by the sea at night")
_CELLS = 8


def pictures(height: int, width: int) -> list[NDArray[np.uint8]]:
    """Soft coloured fields with grain, each (height, width, 3), uint8, RGB: nearer to photos than noise is."""
    return [_picture(np.random.default_rng(seed), height, width) for seed in range(COUNT)]


def _picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    field = rng.integers(0, 256, (_CELLS, _CELLS, 3))
    rows = np.linspace(0, _CELLS - 1, height).astype(int)
    columns = np.linspace(0, _CELLS - 1, width).astype(int)
    grain = rng.normal(0, 12, (height, width, 3))
    pixels: NDArray[np.uint8] = np.clip(field[rows][:, columns] + grain, 0, 255).astype(np.uint8)
    return pixels
