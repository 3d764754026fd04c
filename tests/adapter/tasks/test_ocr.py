"""OCR: one call to detect, some for the lines, one answer in the order of detection."""

from typing import Any

import numpy as np
import pytest

from adapter.errors import EngineUnavailable
from adapter.tasks import Answer, ocr
from adapter.triton import Arrays
from tests.support.clock import play
from tests.support.tasks import FakeEngine, as_json, ask

HEIGHT, WIDTH = 200, 400
MIN_SCORE = 0.8


def types(min_score: float = MIN_SCORE, **options: object) -> dict[str, Any]:
    return {
        "detection": {"modelName": "m", "options": options},
        "recognition": {"modelName": "m", "options": {"minScore": min_score}},
    }


def detected(run_widths: list[int]) -> Arrays:
    """What a detector says of as many lines as widths: number n is n + 1 px wide and all of level n + 1."""
    count = len(run_widths)
    top = np.array([20 * n for n in range(count)], np.float32)
    left = np.array([300 - n for n in range(count)], np.float32)
    corners = [(left, top), (left + 4, top), (left + 4, top + 8), (left, top + 8)]
    widths = np.arange(1, count + 1, dtype=np.int32)
    return {
        "boxes": np.ascontiguousarray(np.array(corners, np.float32).transpose(2, 0, 1)[None]),
        "scores": np.linspace(0.5, 0.9, count, dtype=np.float32)[None],
        "lines": np.broadcast_to(widths.repeat(widths)[:, None], (1, 48, widths.sum(), 3)).astype(np.uint8),
        "widths": widths[None],
        "run_widths": np.array(run_widths, np.int32)[None],
        "image_size": np.array([[HEIGHT, WIDTH]], np.int32),
    }


def lines_of(inputs: Arrays) -> list[int]:
    """The lines that a request holds; each is held against its width, and its padding against 0."""
    found = []
    for line, (width,) in zip(inputs["lines"], inputs["widths"], strict=True):
        assert (line[:, :width] == width).all()
        assert not line[:, width:].any()
        found.append(int(width) - 1)
    return found


def recognised(inputs: Arrays, scores: dict[int, float] | None = None) -> Arrays:
    lines = lines_of(inputs)
    return {
        "text": np.array([[f"line {n} ü".encode()] for n in lines], np.object_),
        "score": np.array([[(scores or {}).get(n, 0.95)] for n in lines], np.float32),
    }


def answer(
    run_widths: list[int],
    scores: dict[int, float] | None = None,
    asked: dict[str, Any] | None = None,
) -> tuple[Answer, FakeEngine]:
    stage = FakeEngine(
        {
            "detection": lambda _: detected(run_widths),
            "recognition": lambda inputs: recognised(inputs, scores),
        },
        max_batch_size=2,
    )
    return play(ask(ocr.answer, stage, asked or types(), "ocr")), stage


class TestBoth:
    def test_lines_of_one_width_are_asked_for_together_as_far_as_they_may(self) -> None:
        found, stage = answer([30, 90, 30, 224, 30, 90])
        asked = stage.inputs_of("recognition")
        assert [lines_of(inputs) for inputs in asked] == [[3], [1, 5], [0, 2], [4]]
        assert [inputs["lines"].shape[1:] for inputs in asked] == [
            (48, width, 3) for width in (224, 90, 30, 30)
        ]
        assert [inputs["widths"].dtype.name for inputs in asked] == ["int32"] * 4
        assert as_json(found)["text"] == [f"line {n} ü" for n in range(6)]
        assert found.found == 6

    def test_a_line_is_told_in_immichs_words(self) -> None:
        found, _ = answer([30])
        value = as_json(found)
        left, right = 300 / WIDTH, 304 / WIDTH
        assert value == {
            "text": ["line 0 ü"],
            "box": pytest.approx([left, 0, right, 0, right, 8 / HEIGHT, left, 8 / HEIGHT]),
            "boxScore": [0.5],
            "textScore": pytest.approx([0.95]),
        }
        assert found.image_size is not None
        assert (found.image_size.height, found.image_size.width) == (HEIGHT, WIDTH)

    def test_without_lines_there_are_four_empty_lists_and_the_recogniser_is_not_loaded(self) -> None:
        found, stage = answer([])
        assert as_json(found) == {"text": [], "box": [], "boxScore": [], "textScore": []}
        assert [part.type for part in stage.loaded] == ["detection"]
        assert found.found == 0

    def test_only_texts_with_a_greater_score_are_kept(self) -> None:
        just_above = float(np.nextafter(np.float32(MIN_SCORE), np.float32(1)))
        found, _ = answer([30] * 4, scores={0: MIN_SCORE, 1: just_above, 2: 0.1, 3: 0.99})
        value = as_json(found)
        assert value["text"] == ["line 1 ü", "line 3 ü"]
        assert value["textScore"] == pytest.approx([just_above, 0.99])
        boxes, scores = detected([30] * 4)["boxes"][0], detected([30] * 4)["scores"][0]
        assert value["boxScore"] == pytest.approx(scores[[1, 3]].tolist()), "each has its own"
        assert value["box"] == pytest.approx((boxes[[1, 3]] / [WIDTH, HEIGHT]).ravel().tolist())

    def test_the_threshold_is_the_originals_where_none_is_given(self) -> None:
        asked = {"detection": {"modelName": "m"}, "recognition": {"modelName": "m"}}
        found, _ = answer([30] * 3, scores={0: 0.89, 1: 0.9, 2: 0.91}, asked=asked)
        assert as_json(found)["text"] == ["line 2 ü"]

    def test_the_options_go_to_the_detector(self) -> None:
        asked = types(minScore=0.25, maxResolution=960)
        (inputs,) = answer([30], asked=asked)[1].inputs_of("detection")
        assert inputs["image"].tolist() == [[b"picture"]]
        assert inputs["min_score"].tolist() == [[0.25]]
        assert inputs["max_resolution"].tolist() == [[960]]
        assert (inputs["min_score"].dtype.name, inputs["max_resolution"].dtype.name) == ("float32", "int32")

    def test_the_error_of_one_line_is_the_answer(self) -> None:
        def fail_on_the_second(inputs: Arrays) -> Arrays:
            if 1 in lines_of(inputs):
                raise EngineUnavailable("out of memory")
            return recognised(inputs)

        models = {"detection": lambda _: detected([30, 60, 90]), "recognition": fail_on_the_second}
        with pytest.raises(EngineUnavailable, match="out of memory"):
            play(ask(ocr.answer, FakeEngine(models), types(), "ocr"))


class TestDetectionAlone:
    def test_boxes_are_in_pixels(self) -> None:
        found, stage = answer([30, 30], asked={"detection": {"modelName": "m"}})
        value = as_json(found)
        assert value["boxes"][1] == [[299, 20], [303, 20], [303, 28], [299, 28]]
        assert value["scores"] == pytest.approx([0.5, 0.9])
        assert not stage.inputs_of("recognition")
