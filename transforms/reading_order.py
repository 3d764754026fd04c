"""The order in which lines of text are read. Apart from the rest of OCR, because it needs no OpenCV."""

import numpy as np
from numpy.typing import NDArray

NEW_LINE_PX = 10


def reading_order(boxes: NDArray[np.float32]) -> NDArray[np.intp]:
    """The order in which lines are read: sorted by top, a new row where it grows by 10 px or more; then by left.

    Args:
        boxes: float32 (n, 4, 2), corners (x, y) from top left, in pixels.

    Returns:
        int (n,), indices into `boxes`.

    Source: RapidOCR, TextDetector.sorted_boxes.
    """
    left, top = boxes[:, 0, 0], boxes[:, 0, 1]
    by_top = np.argsort(top, kind="stable")
    row = np.cumsum(np.diff(top[by_top], prepend=top[by_top][:1]) >= NEW_LINE_PX)
    order: NDArray[np.intp] = by_top[np.lexsort((left[by_top], row))]
    return order
