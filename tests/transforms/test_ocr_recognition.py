"""Crops, batches and decoding, against OpenCV, plain arithmetic and RapidOCR's modules where they are installed."""

from itertools import groupby
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from transforms.ocr_recognition import (
    MAX_BATCH_WIDTH_PX,
    crop_lines,
    decode_ctc,
    group_lines,
    line_batch,
    pack,
    read_characters,
    unpack,
)

CHARACTERS = ("", "a", "b", "c", " ")


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def shapes_of(*ratios: float) -> NDArray[np.int32]:
    return np.array([[100, round(100 * ratio)] for ratio in ratios], np.int32)


def steps(*classes: int, certainty: float = 0.9) -> NDArray[np.float32]:
    """Probabilities (1, steps, 5) with the given likeliest classes."""
    rest = np.float32(1 - certainty) / 4
    return np.where(np.eye(5, dtype=bool)[list(classes)], np.float32(certainty), rest)[np.newaxis]


@pytest.fixture(scope="module")
def rapidocr_recognition() -> Any:
    return pytest.importorskip(
        "rapidocr.ch_ppocr_rec.main", reason="rapidocr, the reference, is not installed"
    )


class TestCrops:
    def test_a_level_box_is_cut_out_to_within_a_level(self) -> None:
        """Pillow truncates, so a coefficient's last bit can cost one level."""
        pixels = noise(100, 300)
        (crop,) = crop_lines(pixels, box(40, 20, 240, 60)[np.newaxis])
        assert crop.shape == (40, 200, 3)
        assert np.abs(crop.astype(int) - pixels[20:60, 40:240]).max() <= 1

    @pytest.mark.parametrize(("width", "is_turned"), [(30, False), (31, False), (20, True), (21, False)])
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

    def test_no_boxes_give_no_crops(self) -> None:
        assert crop_lines(noise(50, 50), np.zeros((0, 4, 2), np.float32)) == []

    def test_a_box_across_a_wide_picture_is_cut_out_precisely(self) -> None:
        """Single precision is enough: 60000 px from the corner the error is some hundredths of a pixel."""
        ramp = np.repeat((np.arange(60000) // 240).astype(np.uint8)[np.newaxis, :, np.newaxis], 40, 0).repeat(
            3, 2
        )
        (crop,) = crop_lines(ramp, box(100, 4, 59900, 36)[np.newaxis])
        assert np.abs(crop.astype(int) - ramp[4:36, 100:59900]).max() <= 1


class TestPacking:
    @given(
        st.lists(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 7), st.just(3))), max_size=8)
    )
    def test_crops_come_back_as_they_were(self, crops: list[NDArray[np.uint8]]) -> None:
        data, shapes = pack(crops)
        assert data.dtype == np.uint8
        assert data.ndim == 1
        assert shapes.dtype == np.int32
        assert shapes.shape == (len(crops), 2)
        assert all((a == b).all() for a, b in zip(unpack(data, shapes), crops, strict=True))

    @pytest.mark.parametrize("total", [0, 17, 19])
    def test_bytes_that_the_shapes_do_not_account_for_are_refused(self, total: int) -> None:
        with pytest.raises(ValueError, match=f"18 bytes, not {total}"):
            unpack(np.zeros(total, np.uint8), np.array([[2, 3]], np.int32))

    @pytest.mark.parametrize("shape", [(0, 3), (-2, -3)])
    def test_sides_that_are_not_positive_are_refused(self, shape: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="not positive"):
            unpack(np.zeros(18, np.uint8), np.array([shape], np.int32))

    def test_sizes_that_would_overflow_are_refused(self) -> None:
        with pytest.raises(ValueError, match="bytes, not 0"):
            unpack(np.zeros(0, np.uint8), np.array([[2**30, 2**30]], np.int32))


class TestGroups:
    def test_lines_are_grouped_in_sixes_from_narrow_to_wide(self) -> None:
        groups = group_lines(shapes_of(9, 20, 3, 12, 8, 1, 30, 10))
        assert [group.indices.tolist() for group in groups] == [[5, 2, 4, 0, 7, 3], [1, 6]]
        assert [group.width for group in groups] == [576, 1440]

    def test_a_batch_is_320_px_wide_at_least(self) -> None:
        assert [group.width for group in group_lines(shapes_of(0.5, 2, 6.6))] == [320]

    def test_widths_are_truncated(self) -> None:
        assert group_lines(np.array([[47, 333]], np.int32))[0].width == 340  # 48 * 333 / 47 = 340.09
        assert group_lines(np.array([[47, 332]], np.int32))[0].width == 339  # 339.06

    def test_an_endless_line_does_not_make_an_endless_batch(self) -> None:
        assert group_lines(np.array([[4, 1_000_000]], np.int32))[0].width == MAX_BATCH_WIDTH_PX

    def test_equal_lines_stay_in_reading_order(self) -> None:
        groups = group_lines(shapes_of(*[5.0] * 13))
        assert np.concatenate([group.indices for group in groups]).tolist() == list(range(13))

    def test_no_lines_make_no_groups(self) -> None:
        assert group_lines(np.zeros((0, 2), np.int32)) == []

    @given(st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), min_size=1, max_size=40))
    def test_every_line_is_in_one_group_and_fits(self, shapes: list[tuple[int, int]]) -> None:
        groups = group_lines(np.array(shapes, np.int32))
        assert sorted(i for group in groups for i in group.indices) == list(range(len(shapes)))
        assert all(len(group.indices) == 6 for group in groups[:-1])
        for group in groups:
            widest = max(shapes[i][1] / shapes[i][0] for i in group.indices)
            assert group.width == min(MAX_BATCH_WIDTH_PX, int(48 * max(320 / 48, widest)))


class TestBatches:
    @pytest.mark.parametrize("shape", [(48, 100), (31, 333), (200, 17), (7, 900), (50, 333), (1, 1)])
    def test_a_line_is_scaled_and_normalised_as_rapidocr_does(
        self, shape: tuple[int, int], rapidocr_recognition: Any
    ) -> None:
        crop = noise(*shape)
        ratio = max(320 / 48, shape[1] / shape[0])
        recognizer = SimpleNamespace(rec_image_shape=(3, 48, 320))
        expected = rapidocr_recognition.TextRecognizer.resize_norm_img(recognizer, crop[:, :, ::-1], ratio)
        (group,) = group_lines(np.array([shape], np.int32))
        batch = line_batch([crop], group.width)
        assert batch.dtype == np.float32
        assert batch.shape == (1, *expected.shape)
        assert (batch[0] == expected).all()

    def test_colours_are_bgr_and_lie_between_minus_one_and_one(self) -> None:
        red = np.zeros((48, 60, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
        (line,) = line_batch([red], 320)
        assert (line[:2, :, :60] == -1).all()
        assert (line[2, :, :60] == 1).all()

    def test_padding_is_zero(self) -> None:
        batch = line_batch([noise(48, 60), noise(24, 100)], 320)
        assert (batch[0, :, :, 60:] == 0).all()
        assert (batch[1, :, :, 200:] == 0).all()
        assert (batch[1, :, :, 199] != 0).any()

    def test_a_line_longer_than_its_batch_is_squeezed(self) -> None:
        assert line_batch([noise(4, 20000)], MAX_BATCH_WIDTH_PX).shape == (1, 3, 48, MAX_BATCH_WIDTH_PX)


class TestCharacters:
    def test_the_blank_comes_first_and_the_space_last(self) -> None:
        assert read_characters("a\nb\nc", classes=5) == CHARACTERS

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

    @pytest.mark.parametrize("classes", [1, 2])
    def test_a_recogniser_without_characters_is_refused(self, classes: int) -> None:
        with pytest.raises(ValueError, match="0 characters"):
            read_characters("", classes)


class TestDecoding:
    @pytest.mark.parametrize(
        ("classes", "text"),
        [
            ((1, 2, 3), "abc"),
            ((0, 1, 1, 0, 2, 2, 2, 0), "ab"),
            ((1, 1, 0, 1), "aa"),
            ((1, 0, 4, 0, 2), "a b"),
            ((0, 0, 0), ""),
        ],
    )
    def test_repeats_are_merged_before_blanks_are_dropped(self, classes: tuple[int, ...], text: str) -> None:
        assert decode_ctc(steps(*classes), CHARACTERS)[0] == [text]

    def test_the_score_is_the_mean_of_the_characters_alone(self) -> None:
        line = [steps(c, certainty=p) for c, p in ((0, 0.5), (1, 0.9), (1, 0.3), (2, 0.6))]
        assert decode_ctc(np.concatenate(line, axis=1), CHARACTERS)[1].tolist() == [np.float32(0.75)]

    @pytest.mark.parametrize("shape", [(3, 0, 5), (0, 7, 5)])
    def test_nothing_to_read_is_an_empty_text_with_a_finite_score(self, shape: tuple[int, ...]) -> None:
        texts, scores = decode_ctc(np.zeros(shape, np.float32), CHARACTERS)
        assert texts == [""] * shape[0]
        assert scores.tolist() == [0.0] * shape[0]
        assert scores.dtype == np.float32

    def test_a_blank_line_scores_zero(self) -> None:
        assert decode_ctc(steps(0, 0, 0), CHARACTERS)[1].tolist() == [0.0]

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_broken_answer_is_refused(self, value: float) -> None:
        line = steps(1, 2)
        line[0, 1, 3] = value
        with pytest.raises(ValueError, match="not finite"):
            decode_ctc(line, CHARACTERS)

    def test_characters_of_another_recogniser_are_refused(self) -> None:
        with pytest.raises(ValueError, match="5 classes, but 4 characters"):
            decode_ctc(steps(1), CHARACTERS[:4])

    @given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
    def test_any_line_reads_like_its_runs(self, classes: list[int]) -> None:
        expected = "".join(CHARACTERS[run] for run, _ in groupby(classes))
        assert decode_ctc(steps(*classes), CHARACTERS)[0] == [expected]

    @pytest.mark.parametrize("seed", range(10))
    def test_texts_and_scores_are_those_of_rapidocr(self, seed: int, rapidocr_recognition: Any) -> None:
        likely = np.random.default_rng(seed).random((6, 40, 5), np.float32) ** 8
        probabilities = np.asarray(likely / likely.sum(axis=2, keepdims=True), np.float32)
        expected, _ = rapidocr_recognition.CTCLabelDecode(character=["a", "b", "c"])(probabilities)
        texts, scores = decode_ctc(probabilities, CHARACTERS)
        assert texts == [text for text, _ in expected]
        assert scores.tolist() == [np.float32(score) for _, score in expected]
