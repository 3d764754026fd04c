"""`demo-face`: a face detector and recogniser made by code.

They have the interfaces of SCRFD and ArcFace exports and take their place where none can be downloaded: in
the demo and in tests. They know drawn faces (`faces.draw_face`), upright and whole, and nothing else.

The detector measures area, centre and spread of that colour in windows around its anchors: few
shapes have a face's spread for their area, so no more is needed to tell where, how large and whether.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from adapter.preparation.catalog import DEMO
from adapter.protocol import TaskName
from demo.models.faces import FACE, FEATURES, LANDMARKS, PALETTE, SKIN
from demo.models.graph import Graph

NAME = DEMO[TaskName.FACES]
SIZE_PX = 640
CROP_PX = 112
DIMENSIONS = 512
STRIDES = (8, 16, 32)
ANCHORS = 2
OUTPUTS = (("443", "446", "449"), ("468", "471", "474"), ("493", "496", "499"))
"""Names of scores, boxes and key points at each stride, as in published detectors."""

HEADS = {
    OUTPUTS[level][i]: (ANCHORS * (SIZE_PX // stride) ** 2, width)
    for i, width in enumerate((1, 4, 10))
    for level, stride in enumerate(STRIDES)
}
"""The outputs in their order, and their shapes."""

Maps = tuple[str, str, str]
"""Scores before the sigmoid, boxes and key points: (1, 2 * width, rows, columns) for a width of 1, 4 and 10."""

REACH = 75 / 128
"""Half skin are colours at this distance from it; a distance of 1 is 128 levels."""

SHARPNESS = 4.0
"""How strictly a colour belongs to the nearest one of the palette, per squared distance."""

WINDOWS_PX = {8: (56, 96), 16: (144, 224), 32: (352, 512)}
"""Sides of the two anchors' windows at each stride. A face is found in one that holds it and no other."""

MIN_DIAMETER_PX = 30

BEST_LOGIT = 7.0
COSTS = (330, 330, 1300, 50, 1)
"""What is taken off it for a unit of each fault: another spread in x and in y, skin in the window's frame a quarter of
a stride wide, by the area of all, a missing stride of diameter, and being aside of the anchor by a stride."""

MAX_COST = 24.0
"""No sum of faults comes up to this, so that scores differ wherever pictures do, as those of real detectors."""

FEATURES_IN_CROP = ((38, 52), (74, 52), (56, 72), (56, 92))
"""Where (x, y) the features are in an aligned crop."""


def build(folder: Path) -> None:
    """Write `detection/model.onnx` and `recognition/model.onnx` into `folder`: the same bytes every time."""
    for part, model in (("detection", _detector()), ("recognition", _recognizer())):
        onnx.checker.check_model(model, full_check=True)
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))


def _skin_shape() -> tuple[float, float, float, float]:
    """Of a face with the diameter 1 the skin's area, its middle below the face's, its spread in x and in y."""
    parts = [(FACE, 1), *((feature, -1) for feature in FEATURES)]
    area = sum(sign * e.area for e, sign in parts)
    center_y = sum(sign * e.area * e.y for e, sign in parts) / area
    x2 = sum(sign * e.area * (e.x**2 + e.across**2 / 4) for e, sign in parts) / area
    y2 = sum(sign * e.area * (e.y**2 + e.down**2 / 4) for e, sign in parts) / area
    return area, center_y, x2 / area, (y2 - center_y**2) / area


def _normalized(color: tuple[int, int, int], deviation: float) -> NDArray[np.float32]:
    return (np.array(color, np.float32) - np.float32(127.5)) / np.float32(deviation)


def _detector() -> onnx.ModelProto:
    """SCRFD's interface: `input.1` (1, 3, 640, 640), RGB, (x - 127.5) / 128 → nine heads, batch 1 only."""
    graph = Graph()
    for maps, names in zip(add_maps(graph, "input.1"), OUTPUTS, strict=True):
        add_heads(graph, maps, names)
    return graph.model(NAME, {"input.1": [1, 3, SIZE_PX, SIZE_PX]}, HEADS)


def add_maps(graph: Graph, image: str) -> Iterator[Maps]:
    """What the detector makes of an image (1, 3, h, w), RGB, (x - 127.5) / 128, at each stride in turn."""
    from_skin = graph.Sub(image, _normalized(SKIN, 128).reshape(1, 3, 1, 1))
    distance = graph.ReduceSumSquare(from_skin, axes=[1], keepdims=1)
    nearness = graph.Sub(1.5, graph.Div(distance, REACH**2))
    skin = graph.Clip(nearness, 0.0, 1.0)  # (1, 1, h, w)
    for stride in STRIDES:
        yield _add_maps(graph, skin, stride)


def add_heads(graph: Graph, maps: Maps, names: Maps) -> None:
    """Outputs of these names: scores (n, 1), boxes (n, 4) and key points (n, 10) of one stride."""
    logits, boxes, key_points = maps
    graph.Sigmoid(_add_rows(graph, logits, 1), to=names[0])
    _add_rows(graph, boxes, 4, to=names[1])
    _add_rows(graph, key_points, 10, to=names[2])


def _add_maps(graph: Graph, skin: str, stride: int) -> Maps:
    whole, center_y, wide, high = _skin_shape()
    area, x, y, spread_x, spread_y, frame = _add_measures(graph, skin, stride)
    diameter = graph.Sqrt(graph.Div(area, whole))
    other_shape = (graph.Abs(graph.Sub(*spreads)) for spreads in ((spread_x, wide), (spread_y, high)))
    too_small = graph.Relu(graph.Sub(MIN_DIAMETER_PX / stride, diameter))
    aside = graph.Max(graph.Abs(x), graph.Abs(y))
    cost = _add_linear(graph, [*other_shape, frame, too_small, aside], [COSTS])
    bounded = graph.Div(cost, graph.Add(graph.Div(cost, MAX_COST), 1.0))
    # Distances to left, top, right and bottom; offsets of the landmarks, x and y in turn.
    sides = [[-1, 0, 0.5], [0, -1, 0.5 + center_y], [1, 0, 0.5], [0, 1, 0.5 - center_y]]
    offsets = [row for at, below in LANDMARKS for row in ([1, 0, at], [0, 1, below - center_y])]
    boxes, key_points = (_add_linear(graph, [x, y, diameter], rows) for rows in (sides, offsets))
    return graph.Sub(BEST_LOGIT, bounded), boxes, key_points


def _add_linear(graph: Graph, inputs: list[str], rows: Sequence[Sequence[float]]) -> str:
    """Weighted sums of inputs (1, 2, h, w), one a row, for each of the two anchors: (1, 2 * len(rows), h, w)."""
    kernels = np.concatenate([np.kron(rows, np.eye(ANCHORS)[i]) for i in range(ANCHORS)])
    return graph.Conv(graph.Concat(*inputs, axis=1), kernels[..., None, None])


def _add_rows(graph: Graph, head: str, width: int, to: str = "") -> str:
    """From (1, 2 * width, rows, columns) to (n, width) as published detectors do it: for one picture only."""
    return graph.Reshape(graph.Transpose(head, perm=[2, 3, 0, 1]), [-1, width], to=to)


def _add_measures(graph: Graph, skin: str, stride: int) -> list[str]:
    """Area, centre (x, y), spread (x, y) and frame of skin in the anchors' windows, (1, 2, rows, columns) each.

    In strides from the anchor; spreads are variances by the area, so that a shape has the same at any size; the
    frame is the part of the area that is at the window's rim.
    """
    cell = stride // 4 if stride > 8 else 1
    cells = graph.AveragePool(skin, kernel_shape=[cell] * 2, strides=[cell] * 2)
    kernels = _moment_kernels(stride, cell)
    before, step = kernels.shape[-1] // 2, stride // cell
    pads = [before, before, before - step, before - step]
    moments = graph.Conv(cells, kernels, strides=[step] * 2, pads=pads)  # (1, 12, rows, columns)
    sums = [graph.Slice(moments, [i], [i + ANCHORS], [1]) for i in range(0, len(kernels), ANCHORS)]
    area = graph.Add(sums[0], 1e-6)
    x, y, x2, y2, frame = (graph.Div(moment, area) for moment in sums[1:])
    spreads = (
        graph.Div(graph.Sub(square, graph.Mul(mean, mean)), area) for square, mean in ((x2, x), (y2, y))
    )
    return [area, x, y, *spreads, frame]


def _moment_kernels(stride: int, cell: int) -> NDArray[np.float64]:
    """(12, 1, k, k): weights 1, x, y, x², y² of a pixel, and 1 in the frame, for each of the two windows."""
    half = max(WINDOWS_PX[stride]) // 2
    at = (np.arange(-half, half, cell) + (cell - 1) / 2) / stride
    y, x = np.meshgrid(at, at, indexing="ij")
    from_anchor_px = np.maximum(abs(x), abs(y)) * stride
    inside = [from_anchor_px < side / 2 for side in WINDOWS_PX[stride]]
    frames = [
        window & (from_anchor_px > side / 2 - stride / 4)
        for window, side in zip(inside, WINDOWS_PX[stride], strict=True)
    ]
    moments = [weight * window for weight in (x**0, x, y, x**2, y**2) for window in inside]
    return np.array([[kernel * (cell / stride) ** 2] for kernel in (*moments, *frames)])


def _recognizer() -> onnx.ModelProto:
    """ArcFace's interface: `input.1` (n, 3, 112, 112), RGB, (x - 127.5) / 127.5 → `683` (n, 512).

    Each feature's colour is named, softly, and the names are spread over the vector: by cosines of rising frequency.
    """
    graph = Graph()
    palette = np.stack([_normalized(color, 127.5) for color in PALETTE])  # (colours, 3)
    weights, bias = 2 * SHARPNESS * palette.T, -SHARPNESS * (palette**2).sum(axis=1)
    names = []
    for x, y in FEATURES_IN_CROP:
        feature = graph.Slice("input.1", [y - 3, x - 3], [y + 4, x + 4], [2, 3])
        color = graph.ReduceMean(feature, axes=[2, 3], keepdims=0)
        names.append(graph.Softmax(graph.Gemm(color, weights, bias), axis=1))
    frequencies = np.arange(1, len(names) * len(PALETTE) + 1)
    waves = np.cos(math.pi * np.outer(frequencies, (np.arange(DIMENSIONS) + 0.5) / DIMENSIONS))
    graph.MatMul(graph.Concat(*names, axis=1), waves, to="683")
    return graph.model(NAME, {"input.1": ["None", 3, CROP_PX, CROP_PX]}, {"683": ["None", DIMENSIONS]})
