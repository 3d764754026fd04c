"""What the lines of text say: cutting them out, batching them as the original does, and reading the answer.

pixels, boxes ─[crop_lines]→ crops ─[pack]→ one tensor ─[unpack, group_lines]→ groups of crops
group ─[line_batch]→ batch ─(CTC recogniser)→ probabilities ─[decode_ctc]→ texts, scores
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms import perspective

LINE_HEIGHT_PX = 48
MIN_BATCH_WIDTH_PX = 320
MAX_BATCH_WIDTH_PX = 8192  # lines over 170 times as long as high are squeezed: attention is quadratic
BUCKETS_PX = (320, 480, 640, 960, 1280, 1920, 2560, 3840, 5120, MAX_BATCH_WIDTH_PX)
"""Widths of groups where few shapes matter more than the original's characters."""
GROUP_SIZE = 6
UPRIGHT_RATIO = 1.5  # crops at least this much higher than wide are turned
BLANK = ""
SCORE_DIGITS = 5


@dataclass(frozen=True)
class LineGroup:
    """Lines that are read in one batch.

    Attributes:
        indices: int (n,), which of the picture's lines, 1 to 6 of them.
        width: of the batch, in pixels.
    """

    indices: NDArray[np.intp]
    width: int


def crop_lines(pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Cut out lines of text, upright: each box becomes a rectangle; a standing one is turned left by 90 degrees.

    Args:
        pixels: uint8 (h, w, 3), RGB.
        boxes: float32 (n, 4, 2), corners (x, y) clockwise from top left, in pixels, of boxes with an area.

    Returns:
        n arrays uint8 (h_i, w_i, 3), RGB, contiguous.

    Source: RapidOCR, get_rotate_crop_image, for sizes and turning; Pillow's perspective transform with bicubic.
    """
    sizes = _upright_sizes(boxes)
    homographies = _homographies(_rectangles(sizes), boxes)
    return [
        _crop(pixels, (int(width), int(height)), homography)
        for (width, height), homography in zip(sizes, homographies, strict=True)
    ]


def pack(crops: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Lay crops of different sizes end to end, as tensors that travel.

    Args:
        crops: n arrays uint8 (h_i, w_i, 3).

    Returns:
        The bytes, uint8 (sum of 3 h_i w_i,), and the shapes, int32 (n, 2): heights and widths.
    """
    shapes = np.array([crop.shape[:2] for crop in crops], np.int32).reshape(-1, 2)
    return np.concatenate([np.zeros(0, np.uint8), *(crop.ravel() for crop in crops)]), shapes


def unpack(data: NDArray[np.uint8], shapes: NDArray[np.int32]) -> list[NDArray[np.uint8]]:
    """Undo `pack`, without copying.

    Args:
        data: uint8 (total,).
        shapes: int32 (n, 2), heights and widths.

    Returns:
        n arrays uint8 (h_i, w_i, 3), views into `data`.

    Raises:
        ValueError: a side is not positive, or the shapes do not account for the bytes.
    """
    sides = shapes.astype(np.int64).reshape(-1, 2)
    if (sides < 1).any():
        raise ValueError("a line's height or width is not positive")
    ends = np.cumsum(sides.prod(axis=1) * 3)
    total = int(ends[-1]) if len(ends) else 0
    if total != data.size:
        raise ValueError(f"the lines' shapes account for {total} bytes, not {data.size}")
    pieces = np.split(data, ends[:-1]) if len(ends) else []
    return [piece.reshape(height, width, 3) for piece, (height, width) in zip(pieces, sides, strict=True)]


def group_lines(shapes: NDArray[np.int32]) -> list[LineGroup]:
    """Share out the lines of one picture over batches: by aspect, in sixes, each as wide as its widest line.

    The width decides the text (padding changes characters), so all lines of a picture are grouped together.

    Args:
        shapes: int (n, 2), heights and widths of the crops, in pixels.

    Returns:
        The groups, narrow lines first; every line is in one of them.

    Source: RapidOCR, TextRecognizer.
    """
    ratios = shapes[:, 1] / shapes[:, 0]
    by_ratio = np.argsort(ratios, kind="stable")
    groups = [by_ratio[start : start + GROUP_SIZE] for start in range(0, len(by_ratio), GROUP_SIZE)]
    return [LineGroup(indices, _batch_width(ratios[indices].max())) for indices in groups]


def line_batch(crops: Sequence[NDArray[np.uint8]], width: int) -> NDArray[np.float32]:
    """Make the recogniser's input of a group of lines: scaled to one height, normalised, padded with zeros.

    Args:
        crops: n arrays uint8 (h_i, w_i, 3), RGB.
        width: of the batch, in pixels, from `group_lines`.

    Returns:
        float32 (n, 3, 48, width), BGR, -1 to 1. Padding is 0, which no level of a pixel is: so not uint8.

    Source: RapidOCR, TextRecognizer.resize_norm_img.
    """
    batch = np.zeros((len(crops), 3, LINE_HEIGHT_PX, width), np.float32)
    for line, crop in zip(batch, crops, strict=True):
        height_px, width_px = crop.shape[:2]
        line_width = min(width, math.ceil(LINE_HEIGHT_PX * (width_px / height_px)))
        scaled = cv2.resize(crop, (line_width, LINE_HEIGHT_PX))
        bgr = scaled[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)  # (3, 48, line_width)
        line[:, :, :line_width] = (bgr / 255 - 0.5) / 0.5
    return batch


def read_characters(text: str, classes: int) -> tuple[str, ...]:
    """The character of each class of a recogniser: the blank first, and a space last if there is a class for it.

    Args:
        text: the characters, one a line: the graph's metadata key `character`, or a `charset.txt`.
        classes: how many the graph tells apart.

    Returns:
        As many strings as classes.

    Raises:
        ValueError: the characters do not account for the classes.
    """
    listed = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    for characters in ((BLANK, *listed, " "), (BLANK, *listed)):
        if listed and len(characters) == classes:
            return characters
    raise ValueError(
        f"the recogniser has {classes} classes, but {len(listed)} characters"
        f" (with blank and space: {len(listed) + 2})"
    )


def decode_ctc(
    probabilities: NDArray[np.float32], characters: Sequence[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """Read lines greedily: `decode_steps` of the likeliest class of each step.

    Args:
        probabilities: float32 (n, steps, classes), 0 to 1.
        characters: one for each class, from `read_characters`.

    Returns:
        As `decode_steps`.

    Raises:
        ValueError: as `decode_steps`, or classes and characters differ in number.
    """
    if probabilities.shape[2] != len(characters):
        raise ValueError(f"{probabilities.shape[2]} classes, but {len(characters)} characters with the blank")
    return decode_steps(probabilities.argmax(axis=2), probabilities.max(axis=2), characters)


def decode_steps(
    classes: NDArray[np.int64], certainties: NDArray[np.float32], characters: Sequence[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """Turn steps into texts: repeats merged, then blanks dropped.

    Args:
        classes: int (n, steps), the likeliest class of each step; 0 is the blank.
        certainties: float32 (n, steps), 0 to 1, its probability.
        characters: one for each class, from `read_characters`.

    Returns:
        n texts, and float32 (n,): the mean probability of each text's characters, rounded to five digits; 0 for
        an empty text.

    Raises:
        ValueError: a probability is not finite.

    Source: RapidOCR, CTCLabelDecode; Graves et al., "Connectionist Temporal Classification" (2006).
    """
    if not np.isfinite(certainties).all():
        raise ValueError("the text recogniser's probabilities are not finite")
    is_new = np.diff(classes, axis=1, prepend=0) != 0  # a blank at the start is no character either
    kept = is_new & (classes != 0)
    texts = ["".join(characters[i] for i in row[keep]) for row, keep in zip(classes, kept, strict=True)]
    scores = [_mean_score(row[keep]) for row, keep in zip(certainties, kept, strict=True)]
    return texts, np.array(scores, np.float32)


def _upright_sizes(boxes: NDArray[np.float32]) -> NDArray[np.int32]:
    """Widths and heights (n, 2) of boxes (n, 4, 2): the longer of each pair of sides, truncated, at least 1."""
    sides = np.linalg.norm(boxes - np.roll(boxes, -1, axis=1), axis=2)  # (n, (top, right, bottom, left))
    sizes: NDArray[np.int32] = np.maximum(sides[:, :2], sides[:, 2:]).astype(np.int32).clip(min=1)
    return sizes


def _rectangles(sizes: NDArray[np.int32]) -> NDArray[np.float32]:
    """Corners (n, 4, 2) of rectangles of widths and heights (n, 2) at the origin, clockwise from top left."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    return corners * sizes[:, np.newaxis].astype(np.float32)


def _homographies(origins: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The eight coefficients (n, 8) that take corners (n, 4, 2) of `origins` to those of `targets`.

    Direct linear transform: two equations a corner, solved as the singular vector of the smallest singular value.
    Kept in single precision and in this order of equations, although neither is needed: Pillow truncates levels,
    so where pixels fall on pixels (a level box), the last bits of the coefficients decide on one level each, and
    that on text scores (by up to 0.09 in the golden answers). The bits are LAPACK's and differ between kinds of
    processor, for the original too; the golden answers come from one with AVX-512.

    Source: Hartley and Zisserman, "Multiple View Geometry", 4.1.
    """
    x, y = origins[..., 0], origins[..., 1]
    one, none = np.ones_like(x), np.zeros_like(x)
    u, v = targets[..., 0], targets[..., 1]
    of_u = np.stack([x, y, one, none, none, none, -u * x, -u * y, -u], axis=-1)  # (n, corner, 9)
    of_v = np.stack([none, none, none, x, y, one, -v * x, -v * y, -v], axis=-1)
    equations = np.stack([of_u, of_v], axis=2).reshape(-1, 8, 9)
    solution: NDArray[np.float32] = np.linalg.svd(equations)[2][:, -1]  # (n, 9)
    return solution[:, :8] / solution[:, 8:]


def _crop(
    pixels: NDArray[np.uint8], size: tuple[int, int], homography: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """One line (h, w, 3) of a picture, of a width and height before turning."""
    crop = perspective.transform(pixels, size, homography)
    width, height = size
    return np.ascontiguousarray(np.rot90(crop) if height / width >= UPRIGHT_RATIO else crop)


def _batch_width(widest_ratio: float) -> int:
    ratio = max(MIN_BATCH_WIDTH_PX / LINE_HEIGHT_PX, widest_ratio)
    return min(MAX_BATCH_WIDTH_PX, int(LINE_HEIGHT_PX * ratio))


def _mean_score(certainties: NDArray[np.float32]) -> float:
    """The mean of a text's certainties (n,), rounded before and after as the original does."""
    rounded = [round(float(value), SCORE_DIGITS) for value in certainties]
    return round(float(np.mean(rounded)), SCORE_DIGITS) if rounded else 0.0
