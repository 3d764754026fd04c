"""Faces: what the detector sees of a picture, what its answer means, and the crops that are recognised.

pixels ─[letterbox]→ canvas ─(SCRFD)→ heads ─[decode_heads]→ Faces ─[align]→ crops ─(ArcFace)→ embeddings
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)
ANCHORS_PER_CELL = 2
HEAD_WIDTHS = (1, 4, 10)  # scores, box distances, landmark offsets
MAX_IOU = 0.4
MAX_WARPED_PX = 2**15 - 2  # OpenCV warps no picture with a longer side

# Where ArcFace's training put left eye, right eye, nose and corners of the mouth in a crop of 112 px.
CROP_SIZE_PX = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Faces:
    """The faces of one picture, best first, in pixels of the picture as sent; not rounded, not clipped.

    Attributes:
        boxes_xyxy: float32 (n, 4).
        scores: float32 (n,), 0 to 1.
        landmarks: float32 (n, 5, 2), (x, y) of left eye, right eye, nose, left and right corner of the mouth,
            as the viewer sees them.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]


def letterbox(pixels: NDArray[np.uint8], size: int = 640) -> tuple[NDArray[np.uint8], float]:
    """Fit a picture into the top left of a black square, its aspect kept.

    Args:
        pixels: uint8 (h, w, 3), any colour order.
        size: side of the square in pixels.

    Returns:
        The canvas, uint8 (size, size, 3) in the picture's colour order, 0 to 255 (the graph normalises), and
        the scale: pixels of the canvas per pixel of the picture. A side that would vanish is one pixel.

    Source: insightface, SCRFD.detect: sides are truncated, and the scale is that of the height for both.
    """
    height, width = pixels.shape[:2]
    ratio = height / width
    if ratio > 1:
        new_height, new_width = size, max(1, int(size / ratio))
    else:
        new_height, new_width = max(1, int(size * ratio)), size
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[:new_height, :new_width] = cv2.resize(pixels, (new_width, new_height))
    return canvas, new_height / height


def classify_heads(shapes: Sequence[Sequence[int]], size: int = 640) -> tuple[int, ...]:
    """Tell an SCRFD detector's nine outputs apart by their shapes, whatever their order.

    Args:
        shapes: shape of each output for one picture: (n, 1), (n, 4), (n, 10), or the same after an axis of 1.
        size: side of the detector's input in pixels.

    Returns:
        Indices into `shapes`: scores at stride 8, 16, 32, then boxes, then landmarks.

    Raises:
        ValueError: these are not SCRFD's heads with landmarks, three strides and two anchors a cell.
    """
    expected = [(ANCHORS_PER_CELL * (size // s) ** 2, width) for width in HEAD_WIDTHS for s in STRIDES]
    found = [tuple(shape[1:] if len(shape) == 3 and shape[0] == 1 else shape) for shape in shapes]
    if len(found) != len(expected) or set(found) != set(expected):
        raise ValueError(f"not the heads of an SCRFD detector: {[*map(tuple, shapes)]}, expected {expected}")
    return tuple(found.index(shape) for shape in expected)


def decode_heads(
    heads: Sequence[NDArray[np.float32]], scale: float, min_score: float = 0.7, size: int = 640
) -> Faces:
    """Turn a detector's nine outputs for one picture into faces.

    Args:
        heads: float32 arrays (n, 1), (n, 4), (n, 10), in any order, with or without a leading axis of 1.
            Distances and offsets are in strides, from the anchors' centres.
        scale: pixels of the canvas per pixel of the picture, from `letterbox`.
        min_score: faces below it are dropped.
        size: side of the detector's input in pixels.

    Returns:
        Faces whose boxes overlap by at most `MAX_IOU`; equal scores keep the order of the anchors.

    Raises:
        ValueError: the heads are not SCRFD's, or hold a score, or a face, that is not finite.

    Source: insightface, SCRFD.detect and forward: float32 throughout, overlaps taken after the scale.
    """
    scores, distances, offsets = _join_strides(heads, size)
    if not np.isfinite(scores).all():
        raise ValueError("the detector's scores are not finite")
    kept = np.flatnonzero(scores >= np.float32(min_score))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    centers, strides = (anchors[kept] for anchors in _anchors(size))  # (k, 2), (k, 1)
    distances, offsets = distances[kept] * strides, offsets[kept] * strides
    boxes = np.hstack([centers - distances[:, :2], centers + distances[:, 2:]]) / np.float32(scale)
    landmarks = (centers[:, None] + offsets.reshape(-1, 5, 2)) / np.float32(scale)
    if not (np.isfinite(boxes).all() and np.isfinite(landmarks).all()):
        raise ValueError("the detector's boxes or landmarks are not finite")
    scores = scores[kept]
    best = suppress(boxes, scores)
    return Faces(boxes[best], scores[best], landmarks[best])


def _join_strides(heads: Sequence[NDArray[np.float32]], size: int) -> tuple[NDArray[np.float32], ...]:
    """Scores (n,), distances (n, 4) and offsets (n, 10) of all anchors, finest stride first."""
    order = classify_heads([head.shape for head in heads], size)
    return (
        np.concatenate([heads[i].ravel() for i in order[:3]]),
        np.concatenate([heads[i].reshape(-1, 4) for i in order[3:6]]),
        np.concatenate([heads[i].reshape(-1, 10) for i in order[6:]]),
    )


@lru_cache
def _anchors(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (n, 2) as (x, y) and strides (n, 1) of all anchors in pixels, in the heads' order."""
    centers, strides = [], []
    for stride in STRIDES:
        ys, xs = np.mgrid[: size // stride, : size // stride]
        cells = np.stack([xs, ys], axis=-1).reshape(-1, 2) * stride
        centers.append(np.repeat(cells, ANCHORS_PER_CELL, axis=0))
        strides.append(np.full((len(centers[-1]), 1), stride))
    return np.concatenate(centers).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppress(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], max_iou: float = MAX_IOU
) -> NDArray[np.intp]:
    """Choose boxes greedily: each in turn, unless it overlaps a chosen one by more than `max_iou`.

    Args:
        boxes_xyxy: float32 (n, 4) in pixels.
        scores: float32 (n,); what scores nothing is dropped.
        max_iou: intersection over union, 0 to 1.

    Returns:
        int (k,), indices of the chosen boxes, best first.

    Source: Immich 3.3.
    """
    corners, sizes = boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    boxes_xywh = np.hstack([corners, sizes])
    return np.array(cv2.dnn.NMSBoxes(boxes_xywh.tolist(), scores.tolist(), 0, max_iou), np.intp)


def align(pixels: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut faces out upright: eyes, nose and mouth come as near as they can to where ArcFace was trained.

    Args:
        pixels: uint8 (h, w, 3), any colour order; the picture at full size.
        landmarks: float32 (n, 5, 2), (x, y) in pixels of the picture, as in `Faces`.

    Returns:
        uint8 (n, 112, 112, 3) in the picture's colour order; black outside the picture. A crop is all black
        if its landmarks define no transform: they lie in one point or are not finite.

    Source: insightface, face_align.norm_crop.
    """
    crops = np.zeros((len(landmarks), CROP_SIZE_PX, CROP_SIZE_PX, 3), np.uint8)
    for crop, points in zip(crops, landmarks, strict=True):
        transform = estimate_similarity(points, TEMPLATE)
        if transform is not None:
            _warp(pixels, transform, crop)
    return crops


def _warp(pixels: NDArray[np.uint8], transform: NDArray[np.float64], crop: NDArray[np.uint8]) -> None:
    """Fill a square crop (s, s, 3) with what `transform` brings into it: bilinear, black outside the picture.

    Only the part of the picture that is in the crop is handed to OpenCV, which warps no very long picture.
    """
    size = len(crop)
    back = np.asarray(cv2.invertAffineTransform(transform), np.float64)  # from crop to picture
    corners = back @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])  # (x, y) by four
    extent = pixels.shape[1::-1]
    left, top = np.clip(np.floor(corners.min(axis=1)) - 1, 0, extent).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=1)) + 2, 0, extent).astype(int)
    part = pixels[top:bottom, left:right][:MAX_WARPED_PX, :MAX_WARPED_PX]
    if part.size:
        back -= [[0, 0, left], [0, 0, top]]
        cv2.warpAffine(part, back, (size, size), crop, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


@np.errstate(all="ignore")  # what overflows is recognised below
def estimate_similarity(
    source: NDArray[np.float32], target: NDArray[np.float32]
) -> NDArray[np.float64] | None:
    """Find the rotation, scale and shift that bring points nearest to others, by least squares.

    Args:
        source: float32 (n, 2), (x, y).
        target: float32 (n, 2), where they should go.

    Returns:
        float64 (2, 3), applied as `transform @ (x, y, 1)`, never a mirror; None if none is defined: the
        source is one point, is not finite or too large for float32, or would fit best shrunk to nothing.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991,
    as skimage's SimilarityTransform computes it on numpy 2. The float32 is part of it: with exact moments the
    embedding of a small face in a large picture is at a cosine below 0.9999 to the release's.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    spread = source - source_mean
    variance = spread.var(axis=0).sum()
    covariance = (target - target_mean).T @ spread / len(source)
    if not np.isfinite(covariance).all():
        return None
    left, strengths, right = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0 if np.linalg.det(left) * np.linalg.det(right) > 0 else -1.0])
    rotation = left @ np.diag(signs) @ right
    scale = np.float32(1) / variance * (strengths @ signs)
    if not 0 < scale < np.inf:
        return None
    return np.column_stack([scale * rotation, target_mean - scale * (rotation @ source_mean)])
