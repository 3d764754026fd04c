"""Detection and alignment, against skimage and plain arithmetic."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from transforms import faces
from transforms.faces import TEMPLATE

SHAPES = [(rows, width) for width in (1, 4, 10) for rows in (12800, 3200, 800)]
SCORES, BOXES, LANDMARKS = 0, 3, 6  # where the published order has the heads of stride 8


def float32(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blank_heads() -> list[NDArray[np.float32]]:
    return [np.zeros(shape, np.float32) for shape in SHAPES]


def heads_of(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Heads that answer with these boxes, (n, 4) in pixels, on the first rows of stride 8."""
    heads = blank_heads()
    n = np.arange(len(boxes))
    centers = np.stack([n // 2 * 8 % 640, n // 160 * 8], axis=1)
    heads[SCORES][: len(boxes), 0] = scores
    heads[BOXES][: len(boxes)] = np.hstack([centers - boxes[:, :2], boxes[:, 2:] - centers]) / 8
    return heads


def moved(points: NDArray[Any], degrees: float, scale: float, x: float, y: float) -> NDArray[np.float32]:
    """The points (n, 2) turned clockwise, as seen, about the origin, scaled and shifted."""
    turned = points.astype(np.float64) @ (1, 1j) * scale * np.exp(1j * np.radians(degrees))
    return float32(np.stack([turned.real + x, turned.imag + y], axis=-1))


def estimate(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    transform = faces.estimate_similarity(landmarks, TEMPLATE)
    assert transform is not None
    return transform


def estimate_by_skimage(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array(SimilarityTransform.from_estimate(landmarks, TEMPLATE).params[:2])


def apply(transform: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array(points @ transform[:, :2].T + transform[:, 2])


# The canvas


@pytest.mark.parametrize(
    ("height", "width", "inside", "scale"),
    [
        (640, 640, (640, 640), 1.0),
        (1280, 640, (640, 320), 0.5),
        (400, 600, (426, 640), 426 / 400),
        (3000, 200, (640, 42), 640 / 3000),
        (200, 3000, (42, 640), 42 / 200),
        (31, 31, (640, 640), 640 / 31),
        (1080, 1440, (480, 640), 480 / 1080),
        (1440, 1080, (640, 480), 640 / 1440),
    ],
)
def test_sides_of_the_fitted_picture_are_truncated(
    height: int, width: int, inside: tuple[int, int], scale: float
) -> None:
    canvas, found = faces.letterbox(np.full((height, width, 3), 255, np.uint8))
    ys, xs = np.nonzero(canvas.any(axis=2))
    assert (ys.max() + 1, xs.max() + 1) == inside
    assert (canvas[: inside[0], : inside[1]] == 255).all()
    assert found == scale


@pytest.mark.parametrize(("height", "width"), [(1, 3000), (3000, 1), (1, 1), (1, 641), (2, 40_000)])
def test_thinnest_pictures_keep_a_pixel(height: int, width: int) -> None:
    canvas, scale = faces.letterbox(np.full((height, width, 3), 255, np.uint8))
    assert canvas.shape == (640, 640, 3)
    assert canvas.any()
    assert scale > 0


# The heads


@pytest.mark.parametrize(
    "shapes",
    [
        [],
        SHAPES[:6],  # a detector without landmarks
        [*SHAPES, (200, 1)],
        [*SHAPES[:8], SHAPES[7]],
        [*SHAPES, SHAPES[0]],
        [(n // 2, width) for n, width in SHAPES],  # one anchor a cell
        [(n // 4, width) for n, width in SHAPES],  # for 320 px
        [(2, *shape) for shape in SHAPES],  # two pictures
        [(1, 1, *shape) for shape in SHAPES],
    ],
)
def test_outputs_that_are_not_scrfds_are_refused_by_their_shapes(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="not the heads of an SCRFD detector") as error:
        faces.classify_heads(shapes)
    assert str(shapes) in str(error.value)


@pytest.mark.parametrize(("head", "stride"), [(0, 8), (1, 16), (2, 32)])
@pytest.mark.parametrize("anchor", [0, 1])
def test_distances_count_strides_from_the_cell_in_pixels_of_the_picture(
    head: int, stride: int, anchor: int
) -> None:
    heads = blank_heads()
    row = (5 * 640 // stride + 3) * 2 + anchor  # the cell at x = 3, y = 5
    heads[SCORES + head][row] = 0.875
    heads[BOXES + head][row] = [1, 2, 3, 4]
    heads[LANDMARKS + head][row] = [0, 0.5, 1, 1.5, 2, 2.5, -1, -1.5, -2, -2.5]
    found = faces.decode_heads(heads, scale=0.5)
    assert found.scores.tolist() == [0.875]
    assert (found.boxes_xyxy / 2 / stride).tolist() == [[2, 3, 6, 9]]
    assert (found.landmarks / 2 / stride).tolist() == [[[3, 5.5], [4, 6.5], [5, 7.5], [2, 3.5], [1, 2.5]]]


def test_order_and_batch_axis_of_heads_do_not_change_the_faces() -> None:
    random = np.random.default_rng(0)
    heads = [random.uniform(0, 3, shape).astype(np.float32) for shape in SHAPES]
    plain = faces.decode_heads(heads, 0.3, min_score=2.9)
    assert len(plain.scores) > 10
    for other in (heads[::-1], [head[None] for head in heads]):
        found = faces.decode_heads(other, 0.3, min_score=2.9)
        assert np.array_equal(found.boxes_xyxy, plain.boxes_xyxy)
        assert np.array_equal(found.scores, plain.scores)
        assert np.array_equal(found.landmarks, plain.landmarks)


@pytest.mark.parametrize("min_score", [0.7, np.float32(0.7)])
def test_score_equal_to_the_minimum_is_kept(min_score: float) -> None:
    boxes = float32([[0, 0, 9, 9], [50, 50, 59, 59]])
    below = np.nextafter(np.float32(0.7), np.float32(0))
    found = faces.decode_heads(heads_of(boxes, float32([0.7, below])), 1.0, min_score)
    assert found.scores.tolist() == [np.float32(0.7)]


def brute_force(boxes: list[list[int]]) -> list[int]:
    """Greedy suppression in exact fractions."""

    def area(x1: int, y1: int, x2: int, y2: int) -> int:
        return max(0, x2 - x1) * max(0, y2 - y1)

    def overlap(a: list[int], b: list[int]) -> Fraction:
        common = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        union = area(*a) + area(*b) - common
        return Fraction(common, union) if union else Fraction(1)

    chosen: list[int] = []
    for i, box in enumerate(boxes):
        if all(overlap(box, boxes[j]) <= Fraction(2, 5) for j in chosen):
            chosen.append(i)
    return chosen


span = st.tuples(st.integers(0, 12), st.integers(0, 8)).map(lambda start: (start[0], sum(start)))
box = st.tuples(span, span).map(lambda xy: [xy[0][0], xy[1][0], xy[0][1], xy[1][1]])


@given(st.lists(st.tuples(box, st.integers(0, 8)), max_size=16))
def test_faces_are_sorted_and_then_suppressed(answer: list[tuple[list[int], int]]) -> None:
    boxes = np.array([box for box, _ in answer], np.float32).reshape(-1, 4)
    scores = np.array([0.5 + eighths / 16 for _, eighths in answer], np.float32)
    best_first = sorted(range(len(answer)), key=lambda i: -answer[i][1])
    kept = [i for i in best_first if scores[i] >= 0.7]
    expected = [kept[i] for i in brute_force([answer[i][0] for i in kept])]
    found = faces.decode_heads(heads_of(boxes, scores), 1.0)
    assert found.boxes_xyxy.tolist() == boxes[expected].tolist()
    assert found.scores.tolist() == scores[expected].tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("head", "width"), [(SCORES, 1), (BOXES, 4), (LANDMARKS, 10)])
def test_answer_that_is_not_finite_is_an_error_and_not_a_missing_face(
    head: int, width: int, bad: float
) -> None:
    heads = heads_of(float32([[0, 0, 9, 9]]), float32([0.9]))
    heads[head][0, width - 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        faces.decode_heads(heads, 1.0)


def test_inverted_boxes_are_no_trouble() -> None:
    boxes = float32([[10, 10, 9, 9], [10, 10, 9, 9], [30, 30, 5, 5], [40, 40, 50, 50]])
    found = faces.decode_heads(heads_of(boxes, float32([0.9, 0.85, 0.8, 0.75])), 1.0)
    assert [40, 40, 50, 50] in found.boxes_xyxy.tolist()


# The crops


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_face_comes_out_upright_with_its_colours(quarters: int) -> None:
    upright = noise(112, 112)
    x, y = {1: (0, 111), 2: (111, 111), 3: (111, 0)}[quarters]
    landmarks = moved(TEMPLATE, -90 * quarters, 1, x, y)
    crop = faces.align(np.rot90(upright, quarters), landmarks[None])[0]
    assert np.array_equal(crop[1:-1, 1:-1], upright[1:-1, 1:-1])


def test_outside_of_the_picture_is_black() -> None:
    crop = faces.align(np.full((300, 300, 3), 255, np.uint8), TEMPLATE[None] + float32([-50, 250]))[0]
    assert (crop[:49, 51:] == 255).all()
    assert not crop[51:].any()
    assert not crop[:, :49].any()


def test_every_face_gets_its_own_crop_in_order() -> None:
    pixels = noise(300, 300)
    landmarks = np.stack([moved(TEMPLATE, 0, 1, 9, 0), moved(TEMPLATE, 0, 1, 0, 7), TEMPLATE * 0])
    crops = faces.align(pixels, landmarks)
    assert np.array_equal(crops[0], pixels[:112, 9:121])
    assert np.array_equal(crops[1], pixels[7:119, :112])
    assert not crops[2].any()


@pytest.mark.parametrize("shape", [(150, 40_000), (40_000, 150)])
def test_faces_in_pictures_longer_than_opencv_warps_are_cut_out(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    y, x = (side - 140 for side in shape)
    crop = faces.align(pixels, TEMPLATE[None] + float32([x, y]))[0]
    assert np.array_equal(crop, pixels[y : y + 112, x : x + 112])
    assert faces.align(pixels, TEMPLATE[None] * np.float32(500)).shape == (1, 112, 112, 3)


@dataclass(frozen=True)
class Pose:
    degrees: float
    scale: float
    x: float
    y: float
    jitter: NDArray[np.float64]

    def landmarks(self) -> NDArray[np.float32]:
        return moved(TEMPLATE + self.jitter.astype(np.float32), self.degrees, self.scale, self.x, self.y)


poses = st.builds(
    Pose,
    degrees=st.floats(-180, 180),
    scale=st.floats(0.1, 12),
    x=st.floats(-50, 1500),
    y=st.floats(-50, 1500),
    jitter=arrays(np.float64, (5, 2), elements=st.floats(-8, 8)),
)


@given(poses)
def test_transform_is_that_of_skimage(pose: Pose) -> None:
    landmarks = pose.landmarks()
    ours, expected = estimate(landmarks), estimate_by_skimage(landmarks)
    # on numpy 1 skimage's scale is rounded otherwise than on numpy 2
    assert np.allclose(apply(ours, landmarks), apply(expected, landmarks), rtol=0, atol=2e-2)
    assert np.allclose(ours, expected, rtol=1e-5, atol=2e-2)


@settings(max_examples=25)
@given(poses)
def test_crops_are_those_of_skimage_and_opencv(pose: Pose) -> None:
    pixels, landmarks = noise(900, 1200), pose.landmarks()
    expected = cv2.warpAffine(pixels, estimate_by_skimage(landmarks), (112, 112))
    # coordinates are rounded to 1/32 px: a few fall on the other side
    assert (faces.align(pixels, landmarks[None])[0] != expected).mean() < 0.01


def test_small_faces_in_large_pictures_have_the_rounding_of_the_release() -> None:
    landmarks = float32(
        [[7996.2, 7794.5], [8007.1, 7794.5], [8002.3, 7800.9], [7996.8, 7807.6], [8005.1, 7807.2]]
    )
    of_skimage_on_numpy_2 = np.array(
        [
            [3.202454335118667, 0.10499360592511545, -26387.46414270848],
            [-0.10499360592511545, 3.202454335118667, -24070.146713290054],
        ]
    )
    difference = apply(estimate(landmarks) - of_skimage_on_numpy_2, landmarks)
    assert np.abs(difference).max() < 5e-4  # with exact moments it is 3e-3


@given(st.floats(-180, 180), st.floats(0.5, 100), arrays(np.float64, 5, elements=st.floats(-2, 2)))
def test_landmarks_on_a_line_give_a_turn_and_no_mirror(
    degrees: float, length: float, along: NDArray[np.float64]
) -> None:
    points = np.stack([np.array([-9, 9, 0, -5, 5]) + along, np.zeros(5)], axis=1)
    assert np.linalg.det(estimate(moved(points, degrees, length, 300, 200))[:, :2]) > 0


def test_mirrored_face_is_turned_and_not_mirrored() -> None:
    mirrored = float32(TEMPLATE * [-1, 1] + [112, 0])
    ours = estimate(mirrored)
    assert np.allclose(ours, estimate_by_skimage(mirrored), atol=1e-3)
    assert np.linalg.det(ours[:, :2]) > 0


@pytest.mark.parametrize(
    "landmarks",
    [
        np.full((5, 2), 100.1),
        np.full((5, 2), 27.385002),  # whose mean is another, in float32
        np.full((5, 2), 7.3e7),
        np.zeros((5, 2)),
        TEMPLATE * [[np.nan, 1]],
        np.where(np.eye(5, 2) == 1, np.inf, TEMPLATE),
        -TEMPLATE * np.inf,
        TEMPLATE * 1e30,
        TEMPLATE * 3e36,
        TEMPLATE * 1e-40,
        TEMPLATE * 1e6,
        TEMPLATE + 1e6,
        TEMPLATE - 1e6,
    ],
)
def test_landmarks_that_show_nothing_of_the_picture_give_a_black_crop(landmarks: NDArray[np.float64]) -> None:
    crop = faces.align(np.full((200, 200, 3), 255, np.uint8), float32(landmarks)[None])[0]
    assert not crop.any()


@given(arrays(np.float32, (1, 5, 2), elements=st.floats(width=32)))
def test_no_landmarks_break_the_alignment(landmarks: NDArray[np.float32]) -> None:
    assert faces.align(noise(60, 80), landmarks).shape == (1, 112, 112, 3)
