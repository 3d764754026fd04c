"""The four steps of OCR: lines of a picture, and groups of lines, each request by itself."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.pb_utils import InferenceRequest, TritonError
from tests.support.pictures import noise, png
from tests.support.step import Step, arrays, committed, fault, texts
from transforms import ocr_recognition
from transforms.ocr_detection import ScoreMode, find_lines, resize_for_detection

Load = Callable[..., Step]
Box = tuple[int, int, int, int]


def scalar(value: float, kind: type[np.generic] = np.float32) -> NDArray[np.generic]:
    return np.array([[value]], kind)


class TestPreprocess:
    @pytest.fixture
    def step(self, load: Load) -> Step:
        return load(committed("PP-OCRv5_mobile.detection.preprocess", max_pixels="40000"))

    def request(self, data: bytes, max_resolution: int = 96, *, cancelled: bool = False) -> InferenceRequest:
        resolution = scalar(max_resolution, np.int32)
        return InferenceRequest(image=texts(data), max_resolution=resolution, cancelled=cancelled)

    def test_one_bad_picture_fails_only_its_own_request(self, step: Step) -> None:
        first, bad, second = step.run(
            self.request(png(100, 150, 1)),
            self.request(png(100, 150, 1)[:99]),
            self.request(png(160, 120, 2), 64),
        )
        assert fault(bad)[0] == TritonError.INVALID_ARG
        for answer, pixels, limit in ((first, noise(100, 150, 1), 96), (second, noise(160, 120, 2), 64)):
            found = arrays(answer)
            np.testing.assert_array_equal(found["pixels"], resize_for_detection(pixels, limit)[None])
            np.testing.assert_array_equal(found["picture"], pixels[None])
            assert found["image_size"].tolist() == [list(pixels.shape[:2])]
            assert found["canvas_size"].tolist() == [list(found["pixels"].shape[1:3])]

    def test_canvases_are_padded_to_buckets_where_that_is_configured(self, load: Load) -> None:
        step = load(committed("PP-OCRv5_mobile.detection.preprocess", buckets="true"))
        first, second = (arrays(a) for a in step.run(*(self.request(png(h, 150)) for h in (100, 350))))
        plain = resize_for_detection(noise(100, 150), 96)
        height, width = plain.shape[:2]
        assert first["canvas_size"].tolist() == [[height, width]]
        assert first["pixels"].shape == (1, 320, 320, 3)
        np.testing.assert_array_equal(first["pixels"][0, :height, :width], plain)
        assert not first["pixels"][0, height:].any()
        assert not first["pixels"][0, :, width:].any()
        assert second["canvas_size"].tolist() != first["canvas_size"].tolist()

    def test_many_requests_are_answered_in_their_order(self, step: Step) -> None:
        answers = step.run(*(self.request(png(40 + number, 40, number)) for number in range(16)))
        for number, answer in enumerate(answers):
            np.testing.assert_array_equal(arrays(answer)["picture"][0], noise(40 + number, 40, number))

    def test_a_picture_too_small_for_text_goes_to_the_detector_as_a_blank(self, step: Step) -> None:
        small, other = step.run(self.request(png(31, 200)), self.request(png(32, 200)))
        assert arrays(small)["pixels"].shape == (1, 32, 32, 3)
        assert not arrays(small)["pixels"].any()
        assert arrays(small)["image_size"].tolist() == [[31, 200]]
        assert arrays(other)["pixels"].any()

    def test_several_pictures_in_one_request_are_refused(self, step: Step) -> None:
        two = InferenceRequest(
            image=texts(png(40, 40), png(40, 40)), max_resolution=np.full((2, 1), 64, np.int32)
        )
        refused, good = step.run(two, self.request(png(40, 40)))
        assert fault(refused)[0] == TritonError.INVALID_ARG
        assert arrays(good)["image_size"].tolist() == [[40, 40]]

    def test_a_picture_over_the_configured_limit_is_refused(self, step: Step) -> None:
        large, good = step.run(self.request(png(201, 200)), self.request(png(200, 200)))
        assert fault(large)[0] == TritonError.INVALID_ARG
        assert arrays(good)["image_size"].tolist() == [[200, 200]]

    def test_a_cancelled_request_is_not_worked_on(self, step: Step) -> None:
        cancelled, good = step.run(self.request(b"", cancelled=True), self.request(png(40, 40)))
        assert fault(cancelled)[0] == TritonError.CANCELLED
        assert arrays(good)["image_size"].tolist() == [[40, 40]]


class TestPostprocess:
    @pytest.fixture
    def step(self, load: Load) -> Step:
        return load(committed("PP-OCRv5_mobile.detection.postprocess"))

    def map(self, height: int, width: int, *boxes: Box) -> NDArray[np.float32]:
        """Probabilities (1, 1, height, width): 0.8 in boxes of left, top, right, bottom."""
        found = np.zeros((1, 1, height, width), np.float32)
        for left, top, right, bottom in boxes:
            found[..., top:bottom, left:right] = 0.8
        return found

    def request(
        self,
        *boxes: Box,
        size: tuple[int, int] = (128, 160),
        min_score: float = 0.5,
        score_mode: bytes = b"fast",
        seed: int = 0,
        padding: int = 0,
        cancelled: bool = False,
    ) -> InferenceRequest:
        height, width = size
        canvas = (height // 32 * 32 or 32, width // 32 * 32)
        return InferenceRequest(
            cancelled=cancelled,
            map=np.pad(
                self.map(*canvas, *boxes), [(0, 0), (0, 0), (0, padding), (0, padding)], constant_values=0.9
            ),
            canvas_size=np.array([canvas], np.int32),
            picture=noise(height, width, seed)[None],
            min_score=scalar(min_score),
            score_mode=texts(score_mode),
        )

    def test_each_request_gets_the_lines_of_its_own_picture(self, step: Step) -> None:
        boxes: Sequence[Box] = ((20, 20, 120, 40), (20, 70, 60, 90))
        answers = step.run(
            self.request(*boxes, seed=1),
            self.request(seed=2),
            self.request(boxes[1], size=(160, 128), seed=3),
        )
        for answer, pixels, shown in zip(
            answers,
            (noise(128, 160, 1), noise(128, 160, 2), noise(160, 128, 3)),
            (boxes, (), boxes[1:]),
            strict=True,
        ):
            found, (height, width) = arrays(answer), pixels.shape[:2]
            lines = find_lines(self.map(height, width, *shown)[0, 0], height, width, 0.5, ScoreMode.FAST)
            assert len(lines.boxes) == len(shown)
            np.testing.assert_array_equal(found["boxes"], lines.boxes[None])
            np.testing.assert_array_equal(found["scores"], lines.scores[None])
            crops = ocr_recognition.unpack(found["crops"][0], found["crop_sizes"][0])
            for crop, expected in zip(crops, ocr_recognition.crop_lines(pixels, lines.boxes), strict=True):
                np.testing.assert_array_equal(crop, expected)

    def test_what_the_detector_says_of_the_padding_makes_no_difference(self, step: Step) -> None:
        plain, padded = step.run(self.request((20, 20, 120, 40)), self.request((20, 20, 120, 40), padding=64))
        for name, array in arrays(plain).items():
            np.testing.assert_array_equal(arrays(padded)[name], array)

    def test_a_picture_without_text_gives_empty_tensors(self, step: Step) -> None:
        blank, _ = step.run(self.request(), self.request((20, 20, 120, 40)))
        assert {name: array.shape for name, array in arrays(blank).items()} == {
            "boxes": (1, 0, 4, 2),
            "scores": (1, 0),
            "crops": (1, 0),
            "crop_sizes": (1, 0, 2),
            "groups": (1, 0),
        }

    def test_requests_with_different_thresholds_do_not_influence_each_other(self, step: Step) -> None:
        box = (20, 20, 120, 40)
        answers = step.run(self.request(box, min_score=0.9), self.request(box, min_score=0.1))
        assert [arrays(answer)["scores"].shape for answer in answers] == [(1, 0), (1, 1)]

    def test_the_score_is_taken_in_the_way_that_the_request_asks_for(self, step: Step) -> None:
        thin: Sequence[Box] = ((20, 20, 120, 24), (66, 20, 70, 60))  # a T: its box is mostly empty
        fast, slow = step.run(
            self.request(*thin, min_score=0.1), self.request(*thin, min_score=0.1, score_mode=b"slow")
        )
        assert arrays(fast)["scores"][0, 0] < arrays(slow)["scores"][0, 0]

    @pytest.mark.parametrize("mode", [b"medium", b"", b"\xff"])
    def test_an_unknown_score_mode_fails_only_its_own_request(self, step: Step, mode: bytes) -> None:
        bad, good = step.run(self.request(score_mode=mode), self.request((20, 20, 120, 40)))
        assert fault(bad)[0] == TritonError.INVALID_ARG
        assert "fast or slow" in fault(bad)[1]
        assert arrays(good)["scores"].shape == (1, 1)

    def test_a_picture_too_small_for_text_has_none_whatever_the_map_says(self, step: Step) -> None:
        small, good = step.run(
            self.request((5, 5, 60, 25), size=(31, 64)), self.request((5, 5, 60, 25), size=(32, 64))
        )
        assert arrays(small)["scores"].shape == (1, 0)
        assert arrays(good)["scores"].shape == (1, 1)

    def test_lines_are_grouped_by_aspect_in_sixes(self, step: Step) -> None:
        boxes = [(20, 30 * n + 10, 40 + 20 * n, 30 * n + 25) for n in range(8)]
        answer, _ = step.run(self.request(*boxes, size=(256, 256)), self.request())
        found = arrays(answer)
        ratios = found["crop_sizes"][0, :, 1] / found["crop_sizes"][0, :, 0]
        assert len(ratios) == 8
        assert sorted(found["groups"][0]) == [0] * 6 + [1] * 2
        assert ratios[found["groups"][0] == 0].max() <= ratios[found["groups"][0] == 1].min()

    def test_a_cancelled_request_is_answered_as_such(self, step: Step) -> None:
        cancelled, good = step.run(self.request(cancelled=True), self.request())
        assert fault(cancelled)[0] == TritonError.CANCELLED
        assert arrays(good)["scores"].shape == (1, 0)


class TestLines:
    @pytest.fixture
    def step(self, load: Load) -> Step:
        return load(committed("PP-OCRv5_mobile.recognition.lines"))

    def request(self, *crops: NDArray[np.uint8], cancelled: bool = False) -> InferenceRequest:
        pixels, sizes = ocr_recognition.pack(crops)
        return InferenceRequest(crops=pixels, crop_sizes=sizes, cancelled=cancelled)

    def test_every_group_is_padded_to_its_own_width(self, step: Step) -> None:
        short, long = [noise(20, 60, 1), noise(30, 90, 2)], [noise(20, 400, 3)]
        for crops, answer in zip(
            (short, long), step.run(self.request(*short), self.request(*long)), strict=True
        ):
            sizes = np.array([crop.shape[:2] for crop in crops], np.int32)
            (group,) = ocr_recognition.group_lines(sizes)
            expected = ocr_recognition.line_batch(crops, group.width)
            np.testing.assert_array_equal(arrays(answer)["lines"], expected)

    def test_groups_are_padded_to_buckets_where_that_is_configured(self, load: Load) -> None:
        step = load(committed("PP-OCRv5_mobile.recognition.lines", buckets="true"))
        narrow, wide = step.run(self.request(noise(20, 60)), self.request(noise(20, 150)))
        shapes = [arrays(answer)["lines"].shape for answer in (narrow, wide)]
        assert shapes == [(1, 3, 48, 320), (1, 3, 48, 480)]
        assert not arrays(wide)["lines"][..., 360:].any()

    def test_lines_stay_in_the_order_they_were_sent_in(self, step: Step) -> None:
        crops = [noise(20, 90, 1), noise(20, 40, 2)]  # the wide one first: not the order of a group
        forth, back = (arrays(a)["lines"] for a in step.run(self.request(*crops), self.request(*crops[::-1])))
        np.testing.assert_array_equal(forth, back[::-1])

    @pytest.mark.parametrize("count", [0, 7])
    def test_a_group_of_no_line_or_too_many_fails_only_its_own_request(self, step: Step, count: int) -> None:
        refused, good = step.run(self.request(*[noise(1, 1)] * count), self.request(noise(20, 60)))
        assert fault(refused) == (TritonError.INVALID_ARG, f"{count} lines in a group; there are 1 to 6")
        assert arrays(good)["lines"].shape == (1, 3, 48, 320)

    @pytest.mark.parametrize(
        ("size", "count"),
        [([2, 2], 10), ([0, 5], 0), ([-2, -2], 12)],
        ids=["left over", "no height", "negative"],
    )
    def test_sizes_that_do_not_fit_the_pixels_fail_only_their_own_request(
        self, step: Step, size: list[int], count: int
    ) -> None:
        bad = InferenceRequest(crops=np.zeros(count, np.uint8), crop_sizes=np.array([size], np.int32))
        refused, good = step.run(bad, self.request(noise(20, 60)))
        assert fault(refused)[0] == TritonError.INVALID_ARG
        assert arrays(good)["lines"].shape == (1, 3, 48, 320)

    def test_a_cancelled_request_is_answered_as_such(self, step: Step) -> None:
        crop = noise(20, 60)
        cancelled, good = step.run(self.request(crop, cancelled=True), self.request(crop))
        assert fault(cancelled)[0] == TritonError.CANCELLED
        assert arrays(good)["lines"].shape == (1, 3, 48, 320)


class TestCtc:
    @pytest.fixture
    def step(self, load: Load, tmp_path: Path) -> Step:
        (tmp_path / "1").mkdir()
        (tmp_path / "1/charset.txt").write_text("a\nb\nü")
        return load(committed("PP-OCRv5_mobile.recognition.ctc", classes="5"))

    def request(
        self, classes: list[list[int]], certainty: float = 0.5, *, cancelled: bool = False
    ) -> InferenceRequest:
        array = np.array(classes, np.int64)
        certainties = np.full(array.shape, certainty, np.float32)
        return InferenceRequest(classes=array, certainties=certainties, cancelled=cancelled)

    def test_each_request_gets_the_texts_of_its_own_lines(self, step: Step) -> None:
        one, other = step.run(
            self.request([[1, 1, 0, 1], [2, 4, 3, 3], [0, 0, 0, 0]], 0.25), self.request([[3, 2]], 0.75)
        )
        assert arrays(one)["text"].tolist() == [b"aa", "b ü".encode(), b""]
        assert arrays(one)["score"].tolist() == [0.25, 0.25, 0.0]
        assert arrays(other)["text"].tolist() == ["üb".encode()]
        assert arrays(other)["score"].tolist() == [0.75]

    @pytest.mark.parametrize(("classes", "certainty"), [([[1]], float("nan")), ([[5]], 0.5)])
    def test_an_impossible_answer_of_the_recogniser_fails_only_its_own_request(
        self, step: Step, classes: list[list[int]], certainty: float
    ) -> None:
        bad, good = step.run(self.request(classes, certainty), self.request([[1]]))
        assert fault(bad)[0] == TritonError.INTERNAL, "the picture is not to blame"
        assert arrays(good)["text"].tolist() == [b"a"]

    def test_a_cancelled_request_is_answered_as_such(self, step: Step) -> None:
        cancelled, good = step.run(self.request([[1]], cancelled=True), self.request([[2]]))
        assert fault(cancelled)[0] == TritonError.CANCELLED
        assert arrays(good)["text"].tolist() == [b"b"]

    def test_another_number_of_classes_than_characters_is_refused_at_load(
        self, load: Load, tmp_path: Path
    ) -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "1/charset.txt").write_text("a\nb")
        with pytest.raises(ValueError, match="5 classes, but 2 characters"):
            load(committed("PP-OCRv5_mobile.recognition.ctc", classes="5"))
