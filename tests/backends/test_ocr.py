"""The three steps of OCR in Python: each request by itself."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.pictures import Pictures
from bench.pb_utils import InferenceRequest, TritonError
from tests.support.pictures import noise, png
from tests.support.step import Step, arrays, committed, fault, texts
from transforms import ocr_recognition
from transforms.ocr_canvas import resize_for_detection
from transforms.ocr_detection import find_lines

Load = Callable[..., Step]
Box = tuple[int, int, int, int]


def scalar(value: float, kind: type[np.generic] = np.float32) -> NDArray[np.generic]:
    return np.array([[value]], kind)


class TestPreprocess:
    @pytest.fixture
    def step(self, load: Load) -> Step:
        return load(committed("PP-OCRv5_mobile.detection.preprocess"))

    def request(self, data: bytes, max_resolution: int = 96) -> InferenceRequest:
        resolution = scalar(max_resolution, np.int32)
        return InferenceRequest(image=texts(data), max_resolution=resolution)

    def test_a_picture_is_scaled_as_far_as_its_request_says_and_kept_for_the_lines(self, step: Step) -> None:
        first, second = step.run(self.request(png(100, 150, 1)), self.request(png(160, 120, 2), 64))
        for answer, pixels, limit in ((first, noise(100, 150, 1), 96), (second, noise(160, 120, 2), 64)):
            found = arrays(answer)
            np.testing.assert_array_equal(found["pixels"], resize_for_detection(pixels, limit)[0][None])
            np.testing.assert_array_equal(Pictures().fetch(found["picture"][0]), pixels)
            assert found["image_size"].tolist() == [list(pixels.shape[:2])]
            assert found["content_size"].tolist() == [list(found["pixels"].shape[1:3])]

    def test_a_gpus_canvases_are_of_few_sizes(self, load: Load) -> None:
        step = load(committed("PP-OCRv5_mobile.detection.preprocess", canvas_aspects="1,3/2"))
        wide, high, tiny = (
            arrays(a)
            for a in step.run(*(self.request(png(*size)) for size in ((96, 400), (150, 100), (20, 20))))
        )
        assert [found["pixels"].shape[1:3] for found in (wide, high, tiny)] == [
            (96, 160),
            (160, 96),
            (96, 96),
        ]
        expected, content = resize_for_detection(noise(96, 400), 96, (Fraction(1), Fraction(3, 2)))
        np.testing.assert_array_equal(wide["pixels"][0], expected)
        assert wide["content_size"].tolist() == [list(content)]

    def test_a_picture_too_small_for_text_goes_to_the_detector_as_a_blank(self, step: Step) -> None:
        small, other = step.run(self.request(png(31, 200)), self.request(png(32, 200)))
        assert arrays(small)["pixels"].shape == (1, 32, 32, 3)
        assert not arrays(small)["pixels"].any()
        assert arrays(small)["image_size"].tolist() == [[31, 200]]
        assert arrays(other)["pixels"].any()


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
        seed: int = 0,
        padding: int = 0,
        rank: int = 4,
        kind: type[np.generic] = np.float32,
    ) -> InferenceRequest:
        height, width = size
        canvas = (height // 32 * 32 or 32, width // 32 * 32)
        padded = np.pad(
            self.map(*canvas, *boxes), [(0, 0), (0, 0), (0, padding), (0, padding)], constant_values=0.9
        )
        return InferenceRequest(
            map=padded.reshape(padded.shape[4 - rank :]).astype(kind),
            content_size=np.array([canvas], np.int32),
            picture=Pictures().leave(noise(height, width, seed))[None],
            min_score=scalar(min_score),
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
            lines = find_lines(self.map(height, width, *shown)[0, 0], height, width, 0.5)
            assert len(lines.boxes) == len(shown)
            np.testing.assert_array_equal(found["boxes"], lines.boxes[None])
            np.testing.assert_array_equal(found["scores"], lines.scores[None])
            crops = ocr_recognition.crop_lines(pixels, lines.boxes)
            widths = [ocr_recognition.run_width(crop.shape[0], crop.shape[1]) for crop in crops]
            assert found["run_widths"].tolist() == [widths]
            scaled = [ocr_recognition.scale_line(*pair) for pair in zip(crops, widths, strict=True)]
            assert found["widths"].tolist() == [[line.shape[1] for line in scaled]]
            np.testing.assert_array_equal(found["lines"][0], ocr_recognition.pack(scaled)[0])

    def test_a_gpus_lines_are_of_few_widths(self, load: Load) -> None:
        step = load(committed("PP-OCRv5_mobile.detection.postprocess", widths="100,300"))
        answer, _ = step.run(self.request((20, 20, 120, 40), (20, 70, 60, 90)), self.request())
        assert arrays(answer)["run_widths"].tolist() == [[300, 100]]

    @pytest.mark.parametrize("kind", [np.float32, np.float16])
    def test_a_map_may_lack_the_axis_of_its_channel_and_half_its_digits(
        self, step: Step, kind: type[np.generic]
    ) -> None:
        plain, other = step.run(
            self.request((20, 20, 120, 40)), self.request((20, 20, 120, 40), rank=3, kind=kind)
        )
        np.testing.assert_array_equal(arrays(other)["boxes"], arrays(plain)["boxes"])
        np.testing.assert_allclose(arrays(other)["scores"], arrays(plain)["scores"], atol=1e-3)

    def test_what_the_detector_says_of_the_padding_makes_no_difference(self, step: Step) -> None:
        plain, padded = step.run(self.request((20, 20, 120, 40)), self.request((20, 20, 120, 40), padding=64))
        for name, array in arrays(plain).items():
            np.testing.assert_array_equal(arrays(padded)[name], array)

    def test_a_picture_without_text_gives_empty_tensors(self, step: Step) -> None:
        blank, _ = step.run(self.request(), self.request((20, 20, 120, 40)))
        assert {name: array.shape for name, array in arrays(blank).items()} == {
            "boxes": (1, 0, 4, 2),
            "scores": (1, 0),
            "lines": (1, 48, 0, 3),
            "widths": (1, 0),
            "run_widths": (1, 0),
        }

    def test_requests_with_different_thresholds_do_not_influence_each_other(self, step: Step) -> None:
        box = (20, 20, 120, 40)
        answers = step.run(self.request(box, min_score=0.9), self.request(box, min_score=0.1))
        assert [arrays(answer)["scores"].shape for answer in answers] == [(1, 0), (1, 1)]

    def test_a_picture_too_small_for_text_has_none_whatever_the_map_says(self, step: Step) -> None:
        small, good = step.run(
            self.request((5, 5, 60, 25), size=(31, 64)), self.request((5, 5, 60, 25), size=(32, 64))
        )
        assert arrays(small)["scores"].shape == (1, 0)
        assert arrays(good)["scores"].shape == (1, 1)


class TestCtc:
    @pytest.fixture
    def step(self, load: Load, tmp_path: Path) -> Step:
        (tmp_path / "1").mkdir()
        (tmp_path / "1/charset.txt").write_text("a\nb\nü")
        return load(committed("PP-OCRv5_mobile.recognition.ctc", classes="5"))

    def request(self, classes: list[list[int]], certainty: float = 0.5) -> InferenceRequest:
        array = np.array(classes, np.int64)
        certainties = np.full(array.shape, certainty, np.float32)
        return InferenceRequest(classes=array, certainties=certainties)

    def test_each_request_gets_the_texts_of_its_own_lines(self, step: Step) -> None:
        one, other = step.run(
            self.request([[1, 1, 0, 1], [2, 4, 3, 3], [0, 0, 0, 0]], 0.25), self.request([[3, 2]], 0.75)
        )
        assert arrays(one)["text"].tolist() == [[b"aa"], ["b ü".encode()], [b""]]
        assert arrays(one)["score"].tolist() == [[0.25], [0.25], [0.0]]
        assert arrays(other)["text"].tolist() == [["üb".encode()]]
        assert arrays(other)["score"].tolist() == [[0.75]]

    @pytest.mark.parametrize(("classes", "certainty"), [([[1]], float("nan")), ([[5]], 0.5)])
    def test_an_impossible_answer_of_the_recogniser_fails_only_its_own_request(
        self, step: Step, classes: list[list[int]], certainty: float
    ) -> None:
        bad, good = step.run(self.request(classes, certainty), self.request([[1]]))
        assert fault(bad)[0] == TritonError.INTERNAL, "the picture is not to blame"
        assert arrays(good)["text"].tolist() == [[b"a"]]
