"""Drawn faces, which `demo-face` finds and tells apart.

A drawn face is a disc in a colour that is rare elsewhere, with eyes, nose and mouth cut out of it, coloured by
identity.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SKIN = (225, 60, 190)
PALETTE = ((20, 20, 20), (240, 240, 240), (250, 215, 0), (0, 150, 60), (20, 60, 225))
IDENTITIES = len(PALETTE) ** 2


class Ellipse(NamedTuple):
    """A part of a face, upright; centre and half axes in diameters of the face, from its middle."""

    x: float
    y: float
    across: float
    down: float

    @property
    def area(self) -> float:
        return math.pi * self.across * self.down


FACE = Ellipse(0, 0, 0.5, 0.5)
LEFT_EYE, RIGHT_EYE = Ellipse(-0.176, -0.164, 0.09, 0.09), Ellipse(0.176, -0.164, 0.09, 0.09)
NOSE, MOUTH = Ellipse(0, 0.037, 0.08, 0.08), Ellipse(0, 0.243, 0.15, 0.075)
FEATURES = (LEFT_EYE, RIGHT_EYE, NOSE, MOUTH)
LANDMARKS = ((-0.176, -0.164), (0.176, -0.164), (0, 0.037), (-0.146, 0.243), (0.146, 0.243))


def draw_face(canvas: NDArray[np.uint8], center: tuple[float, float], size: float, identity: int) -> None:
    """Draw a face into a picture.

    Args:
        canvas: uint8 (h, w, 3), RGB; changed in place. What lies outside is not drawn.
        center: (x, y) of its middle, in pixels.
        size: its diameter in pixels; found when it is 40 to 400 px on the detector's 640.
        identity: 0 to 24: who it is.

    Raises:
        ValueError: there is no such identity.
    """
    for ellipse, color in zip((FACE, *FEATURES), (SKIN, *feature_colors(identity)), strict=True):
        x, y, across, down = np.multiply(ellipse, size) + np.array((*center, 0, 0))
        top, left = max(0, int(y - down) - 1), max(0, int(x - across) - 1)
        part = canvas[top : max(0, int(y + down) + 2), left : max(0, int(x + across) + 2)]
        rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        outside_px = (np.hypot((columns - x) / across, (rows - y) / down) - 1) * min(across, down)
        cover = np.clip(0.5 - outside_px, 0, 1)[..., None]  # of each pixel: smooth edges
        part[:] = np.round(part * (1 - cover) + np.array(color) * cover)


def feature_colors(identity: int) -> tuple[tuple[int, int, int], ...]:
    """Colours of left eye, right eye, nose and mouth, (r, g, b).

    Two identities have at most one in common, as two lines meet in at most one point.
    """
    if not 0 <= identity < IDENTITIES:
        raise ValueError(f"there are identities 0 to {IDENTITIES - 1}, not {identity}")
    start, slope = divmod(identity, len(PALETTE))
    return tuple(PALETTE[(start + slope * i) % len(PALETTE)] for i in range(len(FEATURES)))
