"""Crops, lines and texts, against OpenCV and plain arithmetic."""

from collections.abc import Sequence
from itertools import groupby

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from transforms.ocr_reading import read_characters, read_steps
from transforms.ocr_recognition import crop_lines, pack, run_width, scale_line

CHARACTERS = ("", "a", "b", "c", " ")


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


class TestCrops:
    def test_a_level_box_is_cut_out_to_within_a_level(self) -> None:
        """Pillow truncates, so a coefficient's last bit can cost one level."""
        pixels = noise(100, 300)
        (crop,) = crop_lines(pixels, box(40, 20, 240, 60)[np.newaxis])
        assert crop.shape == (40, 200, 3)
        assert np.abs(crop.astype(int) - pixels[20:60, 40:240]).max() <= 1

    @pytest.mark.parametrize(("width", "is_turned"), [(30, False), (20, True), (21, False)])
    def test_a_standing_line_is_turned_left(self, width: int, is_turned: bool) -> None:
        pixels = cv2.GaussianBlur(noise(100, 100), (0, 0), 3).astype(np.uint8)
        (crop,) = crop_lines(pixels, box(10, 10, 10 + width, 40)[np.newaxis])
        cut = pixels[10:40, 10 : 10 + width]
        expected = np.rot90(cut) if is_turned else cut
        assert crop.shape == expected.shape
        assert np.abs(crop.astype(int) - expected).max() <= 1
        assert crop.flags.c_contiguous

    def test_a_tilted_box_becomes_what_opencv_makes_of_it(self) -> None:
        pixels = cv2.GaussianBlur(noise(300, 400), (0, 0), 6).astype(np.uint8)
        corners = np.array([[60, 120], [310, 60], [322, 110], [72, 170]], np.float32)
        (crop,) = crop_lines(pixels, corners[np.newaxis])
        height, width = crop.shape[:2]
        # OpenCV counts from the centre of a pixel, Pillow from its corner.
        upright = box(0, 0, width, height) - np.float32(0.5)
        homography = cv2.getPerspectiveTransform(corners - np.float32(0.5), upright)
        expected = cv2.warpPerspective(pixels, homography, (width, height), flags=cv2.INTER_CUBIC)
        assert (width, height) == (257, 51)
        assert np.abs(crop.astype(int) - expected).max() <= 2

    def test_a_crop_is_as_long_as_the_longer_of_two_sides(self) -> None:
        corners = np.array([[10, 10], [110, 10], [100, 45], [20, 40]], np.float32)
        (crop,) = crop_lines(noise(60, 120), corners[np.newaxis])
        assert crop.shape == (36, 100, 3)

    def test_lines_stay_in_order_and_do_not_disturb_each_other(self) -> None:
        pixels = noise(200, 200)
        boxes = np.stack([box(0, 0, 199, 20), box(5, 30, 25, 199), box(0, 0, 199, 199)])
        together = crop_lines(pixels, boxes)
        alone = [crop_lines(pixels, one[np.newaxis])[0] for one in boxes]
        assert all((a == b).all() for a, b in zip(together, alone, strict=True))

    def test_a_box_across_a_wide_picture_is_cut_out_precisely(self) -> None:
        """Single precision is enough: 60000 px from the corner the error is some hundredths of a pixel."""
        ramp = np.repeat((np.arange(60000) // 240).astype(np.uint8)[np.newaxis, :, np.newaxis], 40, 0).repeat(
            3, 2
        )
        (crop,) = crop_lines(ramp, box(100, 4, 59900, 36)[np.newaxis])
        assert np.abs(crop.astype(int) - ramp[4:36, 100:59900]).max() <= 1


class TestLines:
    @pytest.mark.parametrize(
        ("crop", "width"),
        [
            ((48, 100), 224),  # at least
            ((47, 190), 243),  # 1.25 * int(194.04), rounded up
            ((20, 500), 1500),
            ((4, 20000), 2048),  # at most
        ],
    )
    def test_a_line_is_run_with_a_quarter_of_its_width_to_spare(
        self, crop: tuple[int, int], width: int
    ) -> None:
        assert run_width(*crop) == width

    @pytest.mark.parametrize(
        ("crop", "width"),
        [((48, 10), 224), ((48, 320), 320), ((47, 314), 320), ((48, 321), 448), ((4, 20000), 448)],
    )
    def test_a_line_is_run_at_the_smallest_given_width_that_holds_it(
        self, crop: tuple[int, int], width: int
    ) -> None:
        assert run_width(*crop, (224, 320, 448)) == width

    @pytest.mark.parametrize(
        ("crop", "width"),
        [((48, 60), 60), ((24, 30), 60), ((47, 190), 195), ((200, 1), 1), ((4, 20000), 2048)],
    )
    def test_a_line_keeps_its_aspect_at_48_px_unless_it_is_too_long(
        self, crop: tuple[int, int], width: int
    ) -> None:
        assert scale_line(noise(*crop), 2048).shape == (48, width, 3)

    @pytest.mark.parametrize("widths", [(), (5,), (3, 1, 7)])
    def test_lines_travel_side_by_side(self, widths: tuple[int, ...]) -> None:
        lines = [noise(48, width, width) for width in widths]
        pixels, found = pack(lines)
        assert (pixels.shape, found.tolist()) == ((48, sum(widths), 3), list(widths))
        for line, end in zip(lines, np.cumsum(found), strict=True):
            assert (pixels[:, end - line.shape[1] : end] == line).all()


class TestCharacters:
    def test_the_blank_comes_first_and_the_space_last(self) -> None:
        assert read_characters("a\nb\nc", classes=5) == read_characters("a\nb\nc") == CHARACTERS

    def test_a_recogniser_without_a_space_has_no_class_for_it(self) -> None:
        assert read_characters("a\nb\nc", classes=4) == CHARACTERS[:4]

    def test_unusual_line_ends_and_characters_are_kept_apart(self) -> None:
        assert read_characters("\u3000\r\n\u2028\r\nx\r\n", classes=5) == ("", "\u3000", "\u2028", "x", " ")

    @pytest.mark.parametrize("classes", [0, 3, 6])
    def test_another_number_of_classes_is_refused_by_name(self, classes: int) -> None:
        with pytest.raises(
            ValueError, match=rf"{classes} classes, but 3 characters \(with blank and space: 5\)"
        ):
            read_characters("a\nb\nc", classes)


def read(*classes: int, certainties: Sequence[float] = (), kind: type = np.int64) -> tuple[str, float]:
    """Text and score of one line."""
    values = np.array([certainties or [0.9] * len(classes)], np.float32)
    (text,), (score,) = read_steps(np.array([classes], kind).reshape(1, -1), values, CHARACTERS)
    return text, score


class TestSteps:
    @given(st.lists(st.integers(0, 4), max_size=30))
    def test_repeats_are_merged_before_blanks_are_dropped(self, classes: list[int]) -> None:
        assert read(*classes)[0] == "".join(CHARACTERS[run] for run, _ in groupby(classes))

    def test_the_score_is_the_mean_of_the_characters_alone_and_not_rounded(self) -> None:
        score = read(0, 1, 1, 2, certainties=(0.5, 0.9123456, 0.3, 0.6))[1]
        assert score == (np.float32(0.9123456) + np.float32(0.6)) / np.float32(2)

    @pytest.mark.parametrize("classes", [(), (0, 0, 0)])
    def test_nothing_to_read_is_an_empty_text_that_scores_zero(self, classes: tuple[int, ...]) -> None:
        assert read(*classes) == ("", 0)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_broken_answer_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="not finite"):
            read(1, 2, certainties=(0.5, value))
