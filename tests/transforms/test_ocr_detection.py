"""Canvas sizes, boxes and reading order, against RapidOCR's modules where they are installed."""

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from transforms.ocr_canvas import (
    MAX_CANVAS_PX,
    canvases,
    choose_canvas,
    content_size,
    resize_for_detection,
)
from transforms.ocr_detection import MAX_CONTOURS, Lines, find_lines, reading_order
from transforms.resample import Interpolation, resize

ASPECTS = (Fraction(1), Fraction(4, 3), Fraction(3, 2), Fraction(16, 9), Fraction(2))


def blank(height: int, width: int) -> NDArray[np.float32]:
    return np.zeros((height, width), np.float32)


def page_of_lines(rows: int, columns: int) -> NDArray[np.float32]:
    """Lines of 9 px every 20 px, of probabilities that grow with their place in reading order."""
    page = blank(rows * 20 + 20, columns * 200 + 20)
    for row in range(rows):
        for column in range(columns):
            level = 0.6 + 0.3 * (row * columns + column) / (rows * columns)
            page[row * 20 + 10 : row * 20 + 19, column * 200 + 20 : column * 200 + 180] = level
    return page


def find_on_canvas(probabilities: NDArray[np.float32], **options: Any) -> Lines:
    height, width = probabilities.shape
    return find_lines(probabilities, height, width, **options)


@pytest.fixture(scope="module")
def rapidocr_detection() -> Any:
    return pytest.importorskip(
        "rapidocr.ch_ppocr_det.main", reason="rapidocr, the reference, is not installed"
    )


class TestCanvas:
    @pytest.mark.parametrize(
        ("picture", "max_resolution", "canvas"),
        [
            ((1754, 1240), 736, (1056, 736)),
            ((1754, 1240), 960, (1344, 960)),
            ((1080, 1440), 736, (736, 992)),
            ((204, 510), 736, (192, 512)),
            ((96, 377), 736, (96, 384)),
            ((33, 40), 736, (32, 32)),
            ((3000, 200), 736, (3008, 192)),
            ((33, 3000), 736, (32, 3008)),
            ((80, 112), 736, (64, 128)),  # halves go to the even multiple
            ((100, 289), 50, (64, 160)),  # 144.5 is more than 4.5 times 32
            ((40, 40), 10, (32, 32)),
        ],
    )
    def test_large_pictures_shrink_to_the_limit_and_small_ones_keep_their_size(
        self, picture: tuple[int, int], max_resolution: int, canvas: tuple[int, int]
    ) -> None:
        assert content_size(*picture, max_resolution) == canvas

    @given(
        st.integers(32, 2_000_000).flatmap(
            lambda side: st.tuples(st.just(side), st.integers(32, max(32, 50_000_000 // side)))
        ),
        st.integers(-5, 10**6),
    )
    def test_any_picture_gets_a_canvas_of_bounded_area(self, picture: tuple[int, int], limit: int) -> None:
        height, width = content_size(*picture, limit)
        assert height % 32 == width % 32 == 0
        assert 32 <= height <= max(32, picture[0] + 16)
        assert 32 <= width <= max(32, picture[1] + 16)
        assert height * width <= 1.5 * MAX_CANVAS_PX

    def test_the_aspect_of_a_reduced_giant_is_kept(self) -> None:
        height, width = content_size(5000, 10000, 100_000)
        assert width / height == pytest.approx(2, rel=0.01)
        assert height * width == pytest.approx(MAX_CANVAS_PX, rel=0.02)

    def test_a_picture_is_scaled_by_lanczos_to_the_whole_of_its_canvas(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (204, 510, 3), dtype=np.uint8)
        canvas, content = resize_for_detection(pixels, 736)
        assert content == (192, 512)
        np.testing.assert_array_equal(canvas, resize(pixels, (512, 192), Interpolation.LANCZOS))


class TestFewCanvases:
    def test_nine_canvases_serve_all_pictures(self) -> None:
        assert canvases(736, ASPECTS) == sorted(
            [
                (736, 736),
                *((long, 736) for long in (992, 1120, 1312, 1472)),
                *((736, long) for long in (992, 1120, 1312, 1472)),
            ]
        )

    @given(st.integers(-5, 10**6))
    def test_any_limit_gives_canvases_of_bounded_area(self, limit: int) -> None:
        for height, width in canvases(limit, ASPECTS):
            assert height % 32 == width % 32 == 0
            assert 32 * 32 <= height * width <= MAX_CANVAS_PX

    @pytest.mark.parametrize(
        ("content", "canvas"),
        [
            ((64, 480), (736, 736)),  # the smallest, where nothing shrinks
            ((992, 736), (992, 736)),
            ((736, 1024), (736, 1120)),
            ((736, 4000), (736, 1472)),  # the least shrinking, where all shrink
        ],
    )
    def test_a_picture_gets_the_canvas_on_which_it_shrinks_least(
        self, content: tuple[int, int], canvas: tuple[int, int]
    ) -> None:
        assert choose_canvas(content, canvases(736, ASPECTS)) == canvas

    def test_the_picture_lies_top_left_and_the_rest_is_black(self) -> None:
        pixels = np.full((100, 220, 3), 200, np.uint8)
        canvas, content = resize_for_detection(pixels, 736, ASPECTS)
        assert (canvas.shape, content) == ((736, 736, 3), (96, 224))
        assert (canvas[:96, :224] == 200).all()
        assert np.count_nonzero(canvas) == 96 * 224 * 3


class TestLines:
    def test_a_blank_page_has_no_lines(self) -> None:
        lines = find_on_canvas(blank(64, 96))
        assert (lines.boxes.shape, lines.scores.shape) == ((0, 4, 2), (0,))
        assert lines.boxes.dtype == lines.scores.dtype == np.float32

    def test_a_page_that_is_all_text_is_one_box(self) -> None:
        lines = find_lines(blank(64, 96) + 1, 128, 192)
        assert lines.boxes.tolist() == [[[0, 0], [191, 0], [191, 127], [0, 127]]]
        assert lines.scores.tolist() == [1]

    @pytest.mark.parametrize(
        ("core_px", "picture_px", "count"), [(2, 64, 0), (3, 64, 1), (4, 24, 1), (3, 24, 0)]
    )
    def test_lines_are_3_px_high_on_the_canvas_and_more_than_that_in_the_picture(
        self, core_px: int, picture_px: int, count: int
    ) -> None:
        probabilities = blank(64, 128)
        probabilities[20 : 20 + core_px, 20:80] = 1
        assert len(find_lines(probabilities, picture_px, 128).boxes) == count

    def test_a_core_grows_by_its_area_and_perimeter_on_every_side(self) -> None:
        probabilities = blank(96, 192)
        probabilities[40:50, 50:150] = 0.9  # dilated by a pixel, to 100 x 10 between the outermost centres
        grown = 100 * 10 * 1.6 / (100 + 10) / 2
        left, top, right, bottom = (round(side) for side in (50 - grown, 40 - grown, 150 + grown, 50 + grown))
        assert find_on_canvas(probabilities).boxes[0].tolist() == [
            [left, top],
            [right, top],
            [right, bottom],
            [left, bottom],
        ]

    @pytest.mark.parametrize("angle", [-40, -15, -1, 1, 15, 40])
    def test_a_tilted_line_has_corners_clockwise_from_top_left(self, angle: float) -> None:
        core = cv2.boxPoints(((200, 150), (200, 20), angle))
        probabilities = blank(320, 416)
        cv2.fillPoly(probabilities, [core.astype(np.int32)], (0.9,))
        top_left, top_right, bottom_right, bottom_left = find_on_canvas(probabilities).boxes[0]
        along = top_right - top_left
        assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(angle, abs=2)
        assert np.abs((top_left + bottom_right) - (top_right + bottom_left)).max() <= 2  # a parallelogram
        assert np.cross(along, bottom_left - top_left) > 0

    def test_each_of_200_lines_has_its_place_and_its_own_score(self) -> None:
        lines = find_on_canvas(page_of_lines(50, 4), min_score=0.1)
        assert len(lines.boxes) == 200
        assert (np.diff(lines.scores) > 0).all()
        assert (lines.boxes[1::4, 0, 0] > lines.boxes[::4, 1, 0]).all()

    def test_no_more_than_1000_outlines_are_looked_at(self) -> None:
        page = blank(50 * 20 + 20, 30 * 30 + 20)
        for top in range(10, 1010, 20):
            for left in range(10, 910, 30):
                page[top : top + 8, left : left + 14] = 0.9
        assert len(find_on_canvas(page).boxes) == MAX_CONTOURS

    def test_a_score_at_the_limit_is_enough(self) -> None:
        half = blank(64, 64) + 0.5
        assert len(find_on_canvas(half, min_score=0.5).boxes) == 1
        assert len(find_on_canvas(half, min_score=0.501).boxes) == 0

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_broken_map_is_refused(self, value: float) -> None:
        probabilities = blank(64, 64)
        probabilities[5, 5] = value
        with pytest.raises(ValueError, match="not finite"):
            find_on_canvas(probabilities)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(32, 900), st.integers(32, 900))
    def test_any_map_gives_finite_boxes_inside_the_picture(self, seed: int, height: int, width: int) -> None:
        coarse = np.random.default_rng(seed).random((8, 12), np.float32)
        probabilities = np.kron(coarse, np.ones((16, 16), np.float32))
        lines = find_lines(probabilities, height, width, min_score=0)
        assert np.isfinite(lines.boxes).all()
        assert (lines.boxes >= 0).all()
        assert (lines.boxes < [width, height]).all()
        assert ((lines.scores >= 0) & (lines.scores <= 1)).all()


def boxes_at(*corners: tuple[float, float]) -> NDArray[np.float32]:
    return np.array([[[x, y], [x + 9, y], [x + 9, y + 5], [x, y + 5]] for x, y in corners], np.float32)


class TestReadingOrder:
    def test_a_step_of_10_px_starts_a_row(self) -> None:
        assert reading_order(boxes_at((90, 0), (10, 10))).tolist() == [0, 1]
        assert reading_order(boxes_at((90, 0), (10, 9))).tolist() == [1, 0]

    @pytest.mark.parametrize("seed", range(20))
    def test_the_order_is_that_of_rapidocr(self, seed: int, rapidocr_detection: Any) -> None:
        corners = np.random.default_rng(seed).integers(0, 120, (25, 2)).tolist()
        boxes = boxes_at(*map(tuple, corners))
        assert (boxes[reading_order(boxes)] == rapidocr_detection.TextDetector.sorted_boxes(boxes)).all()
