"""Where the lines of text are: what the detector sees of a picture, and what its answer means.

pixels ─[resize_for_detection]→ canvas ─(DB detector)→ probabilities ─[find_lines]→ Lines

The lines are cut out and read in `transforms.ocr_recognition`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import pyclipper
from numpy.typing import NDArray

from transforms import resample
from transforms.reading_order import reading_order

STRIDE = 32  # the detector halves its input five times
MIN_SIDE_PX = 32
MAX_CANVAS_PX = 2**24  # the detector takes about 135 bytes a pixel: 2.3 GB here

# The detector's input is (x - MEAN_LEVEL) / LEVEL_SCALE of levels 0 to 255, BGR. The mean was meant for pixels
# of 0 to 1, so the result lies between 0 and 2, not between -1 and 1; the original's boxes come from exactly that.
MEAN_LEVEL = 0.5
LEVEL_SCALE = 127.5

BUCKETS_PX = (320, 512, 736, 992, 1312, 1760, 2336, 3136, 4192)  # multiples of 32

IS_TEXT = 0.3
DILATION = np.ones((2, 2), np.uint8)
MAX_CONTOURS = 1000
UNCLIP_RATIO = 1.6
MIN_TEXT_PX = 3  # short side on the canvas, before the box is grown
MIN_BOX_PX = 5  # and after
MAX_SLIVER_PX = 3  # in the picture: boxes no wider or higher than this are dropped


class ScoreMode(StrEnum):
    """What a box's score is the mean of: its four corners' inside, or its contour's."""

    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True)
class Lines:
    """The lines of text of one picture, in reading order.

    Attributes:
        boxes: float32 (n, 4, 2), corners (x, y) clockwise from top left, whole pixels of the full picture,
            0 to width - 1 and 0 to height - 1.
        scores: float32 (n,), 0 to 1: each box's own.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


def can_hold_text(height: int, width: int) -> bool:
    """Whether a picture is large enough for the detector; a smaller one has no text."""
    return min(height, width) >= MIN_SIDE_PX


def canvas_size(height: int, width: int, max_resolution: int) -> tuple[int, int]:
    """The size at which a picture is searched: its own, or smaller, in multiples of 32.

    A picture is never enlarged (but for rounding). Beyond `MAX_CANVAS_PX`, where the original would take
    gigabytes, it is reduced to about that area: very large pictures with a high `max_resolution`, and strips.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        max_resolution: the short side's limit, in pixels.

    Returns:
        Height and width, at least 32.

    Source: RapidOCR, DetPreProcess.resize (truncation, then Python's rounding), but with the limit as a maximum.
    """
    ratio = min(1.0, max_resolution / min(height, width), math.sqrt(MAX_CANVAS_PX / (height * width)))
    return _to_stride(height * ratio), _to_stride(width * ratio)


def resize_for_detection(pixels: NDArray[np.uint8], max_resolution: int) -> NDArray[np.uint8]:
    """Scale a picture to the detector's canvas, with Lanczos.

    Args:
        pixels: uint8 (h, w, 3), RGB.
        max_resolution: the short side's limit, in pixels.

    Returns:
        uint8 (h', w', 3), RGB, 0 to 255: the graph normalises (`MEAN_LEVEL`, `LEVEL_SCALE`) and swaps colours.
    """
    height, width = canvas_size(pixels.shape[0], pixels.shape[1], max_resolution)
    return resample.resize(pixels, (width, height), resample.Interpolation.LANCZOS)


def pad_to_bucket(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grow a canvas to one of few sizes, with black at the right and at the bottom.

    A GPU's memory grows with every new shape. The detector sees beyond the edge of what was added, so that boxes
    near it may move.

    Args:
        canvas: uint8 (h', w', 3), from `resize_for_detection`.

    Returns:
        uint8 (h'', w'', 3), sides of `BUCKETS_PX`; a side over the largest stays.
    """
    padding = [(0, snap(side, BUCKETS_PX) - side) for side in canvas.shape[:2]]
    return np.pad(canvas, [*padding, (0, 0)])


def snap(length: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds a length; the length itself where none does."""
    return next((bucket for bucket in buckets if bucket >= length), length)


def find_lines(
    probabilities: NDArray[np.float32],
    height: int,
    width: int,
    min_score: float = 0.5,
    score_mode: ScoreMode = ScoreMode.FAST,
) -> Lines:
    """Turn the detector's map into boxes of lines, in reading order.

    Args:
        probabilities: float32 (h', w'), 0 to 1, how likely each pixel of the canvas belongs to text.
        height: of the full picture, in pixels.
        width: of the full picture, in pixels.
        min_score: boxes below it are dropped.
        score_mode: what a score is the mean of.

    Raises:
        ValueError: a probability is not finite.

    Source: RapidOCR, DBPostProcess and TextDetector.sorted_boxes; Liao et al., "Real-time Scene Text Detection
        with Differentiable Binarization" (2020).
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("the text detector's probabilities are not finite")
    mask = cv2.dilate((probabilities > IS_TEXT).astype(np.uint8), DILATION)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = [
        box_and_score
        for contour in contours[:MAX_CONTOURS]
        if (
            box_and_score := _line_of_contour(
                contour.reshape(-1, 2).astype(np.int32), probabilities, min_score, score_mode
            )
        )
    ]
    if not found:
        return Lines(np.zeros((0, 4, 2), np.float32), np.zeros(0, np.float32))
    scores = np.array([score for _, score in found], np.float32)
    boxes = _to_picture(np.stack([box for box, _ in found]), probabilities.shape, height, width)
    kept = np.flatnonzero(~_is_sliver(boxes))
    order = kept[reading_order(boxes[kept])]
    return Lines(boxes[order], scores[order])


def _to_stride(side: float) -> int:
    """The nearest multiple of 32, at least 32, and at most what keeps a strip 32 px high within the area."""
    return min(MAX_CANVAS_PX // STRIDE, max(STRIDE, round(int(side) / STRIDE) * STRIDE))


def _line_of_contour(
    contour: NDArray[np.int32], probabilities: NDArray[np.float32], min_score: float, score_mode: ScoreMode
) -> tuple[NDArray[np.float32], float] | None:
    """The box (4, 2) on the canvas and the score of a contour (n, 2), or None if it is no line of text."""
    core, short_side = _min_area_box(contour)
    if short_side < MIN_TEXT_PX:
        return None
    score = _mean_inside(probabilities, core if score_mode is ScoreMode.FAST else contour)
    if score < min_score:
        return None
    box, short_side = _min_area_box(_unclip(core))
    return (box, score) if short_side >= MIN_BOX_PX else None


def _min_area_box(points: NDArray[np.int32]) -> tuple[NDArray[np.float32], float]:
    """The smallest rotated rectangle around points (n, 2): corners (4, 2) from top left, and its short side."""
    rectangle = cv2.minAreaRect(points)
    corners = np.asarray(cv2.boxPoints(rectangle), np.float32)
    return _clockwise(corners[np.newaxis])[0], min(rectangle[1])


def _clockwise(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners (n, 4, 2) from top left: the two left ones by height, then the two right ones."""
    by_x = np.take_along_axis(boxes, np.argsort(boxes[:, :, :1], axis=1, kind="stable"), axis=1)
    pairs = by_x.reshape(-1, 2, 2, 2)  # (n, left or right, corner, (x, y))
    pairs = np.take_along_axis(pairs, np.argsort(pairs[..., 1:], axis=2, kind="stable"), axis=2)
    left, right = pairs[:, 0], pairs[:, 1]
    return np.stack([left[:, 0], right[:, 0], right[:, 1], left[:, 1]], axis=1)


def _mean_inside(
    probabilities: NDArray[np.float32], polygon: NDArray[np.float32] | NDArray[np.int32]
) -> float:
    """The mean probability inside a polygon (n, 2) of (x, y), with its edges."""
    limits = np.array(probabilities.shape[::-1]) - 1
    start = np.clip(np.floor(polygon.min(axis=0)).astype(np.int32), 0, limits)
    stop = np.clip(np.ceil(polygon.max(axis=0)).astype(np.int32), 0, limits) + 1
    window = probabilities[start[1] : stop[1], start[0] : stop[0]]
    mask = np.zeros(window.shape, np.uint8)
    cv2.fillPoly(mask, [(polygon - start.astype(polygon.dtype)).astype(np.int32)], (1,))
    return float(cv2.mean(window, mask)[0])


def _unclip(box: NDArray[np.float32]) -> NDArray[np.int32]:
    """Grow a box (4, 2), which holds the core of a line, to the whole line: a rounded outline (n, 2)."""
    corners = box.astype(np.float64)
    edges = np.roll(corners, -1, axis=0) - corners
    perimeter = np.hypot(edges[:, 0], edges[:, 1]).sum()
    area = abs(np.sum(corners[:, 0] * edges[:, 1] - corners[:, 1] * edges[:, 0])) / 2
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(box, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    outlines: Sequence[Sequence[Sequence[int]]] = offset.Execute(area * UNCLIP_RATIO / perimeter)
    return np.concatenate(outlines).astype(np.int32)


def _to_picture(
    boxes: NDArray[np.float32], canvas: tuple[int, ...], height: int, width: int
) -> NDArray[np.float32]:
    """Boxes (n, 4, 2) on a canvas (h', w') in whole pixels of the picture, inside it, clockwise from top left."""
    canvas_xy = np.array(canvas[::-1], np.float32)
    picture_xy = np.array([width, height], np.float32)
    scaled = np.clip(np.round(boxes / canvas_xy * picture_xy), 0, picture_xy)
    return np.clip(_clockwise(scaled), 0, picture_xy - 1)


def _is_sliver(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes (n, 4, 2) are too narrow or too low to be read."""
    widths = np.linalg.norm(boxes[:, 0] - boxes[:, 1], axis=1).astype(int)
    heights = np.linalg.norm(boxes[:, 0] - boxes[:, 3], axis=1).astype(int)
    slivers: NDArray[np.bool_] = np.minimum(widths, heights) <= MAX_SLIVER_PX
    return slivers
