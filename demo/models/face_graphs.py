"""`demo-face`: a face detector and recogniser made by code.

They have the interfaces of SCRFD and ArcFace exports and take their place where none can be downloaded: in
the demo and in tests. They know drawn faces (`faces.draw_face`), upright and whole, and nothing else.

The detector measures area, centre and spread of that colour in windows around its anchors: few
shapes have a face's spread for their area, so no more is needed to tell where, how large and whether.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from adapter.preparation.catalog import DEMO
from adapter.protocol import TaskName
from demo.models.faces import FACE, FEATURES, LANDMARKS, PALETTE, SKIN
from demo.models.graph import Graph, floats, integers

NAME = DEMO[TaskName.FACES]
SIZE_PX = 640
CROP_PX = 112
DIMENSIONS = 512
STRIDES = (8, 16, 32)
ANCHORS = 2
MEASURES = 6
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

BEST_LOGIT = 7
COSTS = (330, 330, 1300, 50, 1)
"""What is taken off it for a unit of each fault: another spread in x and in y, skin in the window's frame by the
area of all, a missing stride of diameter, and being aside of the anchor by a stride."""

MAX_COST = 24
"""No sum of faults comes up to this, so that scores differ wherever pictures do, as those of real detectors."""

FRAME_PX = {8: 2, 16: 4, 32: 8}
"""Widths of the windows' frames."""


FEATURES_IN_CROP = ((38, 52), (74, 52), (56, 72), (56, 92))
"""Where (x, y) the features are in an aligned crop."""


def build(folder: Path) -> None:
    """Write `detection/model.onnx` and `recognition/model.onnx` into `folder`: the same bytes every time."""
    for part, model in (("detection", _detector()), ("recognition", _recognizer())):
        onnx.checker.check_model(model, full_check=True)
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Shape:
    """What is measured of a face's skin when the diameter is 1."""

    area: float
    center_y: float
    spread_x: float  # variances, by the area
    spread_y: float


def _skin_shape() -> Shape:
    parts = [(FACE, 1), *((feature, -1) for feature in FEATURES)]
    area = sum(sign * e.area for e, sign in parts)
    center_y = sum(sign * e.area * e.y for e, sign in parts) / area
    x2 = sum(sign * e.area * (e.x**2 + e.across**2 / 4) for e, sign in parts) / area
    y2 = sum(sign * e.area * (e.y**2 + e.down**2 / 4) for e, sign in parts) / area
    return Shape(area, center_y, x2 / area, (y2 - center_y**2) / area)


def _per_channel(values: Sequence[float]) -> NDArray[np.float32]:
    return floats(values).reshape(1, -1, 1, 1)


def _normalized(color: tuple[int, int, int], deviation: float) -> NDArray[np.float32]:
    return (floats(color) - np.float32(127.5)) / np.float32(deviation)


def _detector() -> onnx.ModelProto:
    """SCRFD's interface: `input.1` (1, 3, 640, 640), RGB, (x - 127.5) / 128 → nine heads, batch 1 only."""
    graph = Graph()
    for maps, names in zip(add_maps(graph, "input.1"), OUTPUTS, strict=True):
        add_heads(graph, maps, names)
    return graph.model(NAME, {"input.1": [1, 3, SIZE_PX, SIZE_PX]}, HEADS)


def add_maps(graph: Graph, image: str) -> Iterator[Maps]:
    """What the detector makes of an image (1, 3, h, w), RGB, (x - 127.5) / 128, at each stride in turn."""
    from_skin = graph.add("Sub", image, _per_channel(_normalized(SKIN, 128).tolist()))
    distance = graph.add("ReduceSumSquare", from_skin, axes=[1], keepdims=1)
    nearness = graph.add("Sub", floats(1.5), graph.add("Div", distance, floats(REACH**2)))
    skin = graph.add("Clip", nearness, floats(0), floats(1))  # (1, 1, h, w)
    for stride in STRIDES:
        yield _add_maps(graph, skin, stride)


def add_heads(graph: Graph, maps: Maps, names: Maps) -> None:
    """Outputs of these names: scores (n, 1), boxes (n, 4) and key points (n, 10) of one stride."""
    logits, boxes, key_points = maps
    graph.add("Sigmoid", _add_rows(graph, logits, 1), to=names[0])
    _add_rows(graph, boxes, 4, to=names[1])
    _add_rows(graph, key_points, 10, to=names[2])


def _add_maps(graph: Graph, skin: str, stride: int) -> Maps:
    shape = _skin_shape()
    area, x, y, spread_x, spread_y, frame = _add_measures(graph, skin, stride)
    diameter = graph.add("Sqrt", graph.add("Div", area, floats(shape.area)))
    faults = [
        graph.add("Abs", graph.add("Sub", spread_x, floats(shape.spread_x))),
        graph.add("Abs", graph.add("Sub", spread_y, floats(shape.spread_y))),
        frame,
        graph.add("Relu", graph.add("Sub", floats(MIN_DIAMETER_PX / stride), diameter)),
        graph.add("Max", graph.add("Abs", x), graph.add("Abs", y)),
    ]
    cost = _add_linear(graph, faults, [COSTS])
    bounded = graph.add("Div", cost, graph.add("Add", graph.add("Div", cost, floats(MAX_COST)), floats(1)))
    logits = graph.add("Sub", floats(BEST_LOGIT), bounded)
    boxes = _add_linear(graph, [x, y, diameter], _box_weights(shape))
    key_points = _add_linear(graph, [x, y, diameter], _key_point_weights(shape))
    return logits, boxes, key_points


def _add_linear(graph: Graph, inputs: list[str], rows: Sequence[Sequence[float]]) -> str:
    """Weighted sums of inputs (1, 2, h, w), one a row, for each of the two anchors: (1, 2 * len(rows), h, w)."""
    weights = [np.kron(floats(rows), np.eye(ANCHORS, dtype=np.float32)[i]) for i in range(ANCHORS)]
    kernels = np.concatenate(weights)[..., None, None]
    return graph.add("Conv", graph.add("Concat", *inputs, axis=1), kernels)


def _add_rows(graph: Graph, head: str, width: int, to: str = "") -> str:
    """From (1, 2 * width, rows, columns) to (n, width) as published detectors do it: for one picture only."""
    last = graph.add("Transpose", head, perm=[2, 3, 0, 1])
    return graph.add("Reshape", last, integers(-1, width), to=to)


def _add_measures(graph: Graph, skin: str, stride: int) -> list[str]:
    """Area, centre (x, y), spread (x, y) and frame of skin in the anchors' windows, (1, 2, rows, columns) each.

    In strides from the anchor; spreads are variances by the area, so that a shape has the same at any size; the
    frame is the part of the area that is at the window's rim.
    """
    cell = stride // 4 if stride > 8 else 1
    cells = graph.add("AveragePool", skin, kernel_shape=[cell] * 2, strides=[cell] * 2)
    kernels = _moment_kernels(stride, cell)
    before = kernels.shape[-1] // 2
    step = stride // cell
    pads = [before, before, before - step, before - step]
    moments = graph.add("Conv", cells, kernels, strides=[step] * 2, pads=pads)  # (1, 12, rows, columns)
    every = [
        graph.add("Slice", moments, *(integers(v) for v in (i, i + ANCHORS, 1)))
        for i in range(0, MEASURES * ANCHORS, ANCHORS)
    ]
    area = graph.add("Add", every[0], floats(1e-6))
    x, y, x2, y2, frame = (graph.add("Div", moment, area) for moment in every[1:])
    spreads = [
        graph.add("Div", graph.add("Sub", square, graph.add("Mul", mean, mean)), area)
        for square, mean in ((x2, x), (y2, y))
    ]
    return [area, x, y, *spreads, frame]


def _moment_kernels(stride: int, cell: int) -> NDArray[np.float32]:
    """(12, 1, k, k): weights 1, x, y, x², y² of a pixel, and 1 in the frame, for each of the two windows."""
    half = max(WINDOWS_PX[stride]) // 2
    at = (np.arange(-half, half, cell) + (cell - 1) / 2) / stride
    y, x = np.meshgrid(at, at, indexing="ij")
    from_anchor_px = np.maximum(abs(x), abs(y)) * stride
    inside = [from_anchor_px < side / 2 for side in WINDOWS_PX[stride]]
    frames = [
        w & (from_anchor_px > side / 2 - FRAME_PX[stride])
        for w, side in zip(inside, WINDOWS_PX[stride], strict=True)
    ]
    moments = [weight * window for weight in (x**0, x, y, x**2, y**2) for window in inside]
    return floats([[kernel * (cell / stride) ** 2] for kernel in (*moments, *frames)])


def _box_weights(shape: Shape) -> list[list[float]]:
    """Distances to left, top, right and bottom from (x, y, diameter)."""
    up, down = 0.5 + shape.center_y, 0.5 - shape.center_y
    return [[-1, 0, 0.5], [0, -1, up], [1, 0, 0.5], [0, 1, down]]


def _key_point_weights(shape: Shape) -> list[list[float]]:
    """Offsets of the landmarks, x and y in turn, from (x, y, diameter)."""
    return [row for x, y in LANDMARKS for row in ([1, 0, x], [0, 1, y - shape.center_y])]


def _recognizer() -> onnx.ModelProto:
    """ArcFace's interface: `input.1` (n, 3, 112, 112), RGB, (x - 127.5) / 127.5 → `683` (n, 512).

    Each feature's colour is named, softly, and the names are spread over the vector.
    """
    graph = Graph()
    palette = np.stack([_normalized(color, 127.5) for color in PALETTE])  # (colours, 3)
    weights, bias = 2 * SHARPNESS * palette.T, -SHARPNESS * (palette**2).sum(axis=1)
    names = []
    for x, y in FEATURES_IN_CROP:
        corners = (np.array(v, np.int64) for v in ((y - 3, x - 3), (y + 4, x + 4), (2, 3)))
        color = graph.add("ReduceMean", graph.add("Slice", "input.1", *corners), axes=[2, 3], keepdims=0)
        names.append(graph.add("Softmax", graph.add("Gemm", color, weights, bias), axis=1))
    graph.add(
        "MatMul", graph.add("Concat", *names, axis=1), _orthogonal_rows(len(names) * len(PALETTE)), to="683"
    )
    return graph.model(NAME, {"input.1": ["None", 3, CROP_PX, CROP_PX]}, {"683": ["None", DIMENSIONS]})


def _orthogonal_rows(n: int) -> NDArray[np.float32]:
    """(n, 512): cosines of rising frequency, which make embeddings as long as real ones."""
    at = (np.arange(DIMENSIONS) + 0.5) / DIMENSIONS
    return floats(np.cos(math.pi * np.outer(np.arange(1, n + 1), at)))
