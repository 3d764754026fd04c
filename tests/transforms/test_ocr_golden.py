"""The whole way from pixels to text in one process, against the original service's answers."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.golden import TEXT_SCORE_TOLERANCE, comparable
from tests.support.shared import SHARED
from transforms.ocr_detection import (
    LEVEL_SCALE,
    MEAN_LEVEL,
    Lines,
    ScoreMode,
    can_hold_text,
    find_lines,
    resize_for_detection,
)
from transforms.ocr_recognition import (
    crop_lines,
    decode_ctc,
    group_lines,
    line_batch,
    pack,
    read_characters,
    unpack,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SHARED.exists(), reason=f"{SHARED} is not here: the original's answers cannot be compared"
    ),
]
CASES = [
    "ocr-736-.5-.8/text_24_red_on_yellow.jpg",  # the order of Pillow's two passes shows here
    "ocr-736-.5-.8/text_48_white_on_blue.jpg",
    "ocr-736-.5-.8/astronaut.png",  # and here the last bits of a homography
    "ocr-736-.5-.8/tall_200x3000.png",  # standing lines
    "ocr-736-.5-.8/px_31x31.png",
    "ocr-736-.5-.9/text_accents.png",  # two groups of lines
    "ocr-736-.5-.9/text_angle_15.jpg",
    "ocr-736-.5-.9/page.png",
    "ocr-736-.9-.8/text_angle_15.jpg",
]


class Reader:
    """The original's graphs, run by ONNX Runtime, with our transforms around them."""

    def __init__(self, model: Path) -> None:
        self.detector = self._session(model / "detection/model.onnx")
        self.recognizer = self._session(model / "recognition/model.onnx")
        classes = self.recognizer.get_outputs()[0].shape[2]
        characters = self.recognizer.get_modelmeta().custom_metadata_map["character"]
        self.characters = read_characters(characters, classes)

    @staticmethod
    def _session(path: Path) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 2
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @staticmethod
    def _run(session: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])

    def detect(self, pixels: NDArray[np.uint8], options: dict[str, Any]) -> Lines:
        canvas = resize_for_detection(pixels, options["maxResolution"])[np.newaxis, :, :, ::-1]
        normalised = (canvas.astype(np.float32) - np.float32(MEAN_LEVEL)) / np.float32(LEVEL_SCALE)
        probabilities = self._run(self.detector, normalised.transpose(0, 3, 1, 2))
        height, width = pixels.shape[:2]
        mode = ScoreMode(options.get("scoreMode", "fast"))
        return find_lines(probabilities[0, 0], height, width, options["minScore"], mode)

    def recognize(self, crops: list[NDArray[np.uint8]]) -> tuple[list[str], NDArray[np.float32]]:
        texts, scores = [""] * len(crops), np.zeros(len(crops), np.float32)
        for group in group_lines(pack(crops)[1]):
            batch = line_batch([crops[i] for i in group.indices], group.width)
            found, scores[group.indices] = decode_ctc(self._run(self.recognizer, batch), self.characters)
            for i, text in zip(group.indices, found, strict=True):
                texts[i] = text
        return texts, scores

    def read(self, pixels: NDArray[np.uint8], options: dict[str, Any]) -> dict[str, list[Any]]:
        """The `ocr` part of an answer."""
        if not can_hold_text(pixels.shape[0], pixels.shape[1]):
            return {"text": [], "box": [], "boxScore": [], "textScore": []}
        lines = self.detect(pixels, options["detection"]["options"])
        texts, scores = self.recognize(unpack(*pack(crop_lines(pixels, lines.boxes))))
        kept = np.flatnonzero(scores > np.float32(options["recognition"]["options"]["minScore"]))
        return {
            "text": [texts[i] for i in kept],
            "box": (lines.boxes[kept] / pixels.shape[1::-1]).ravel().tolist(),
            "boxScore": lines.scores[kept].tolist(),
            "textScore": scores[kept].tolist(),
        }


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(SHARED / "models/ocr/PP-OCRv5_mobile")


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    return {case["id"]: case for case in json.loads((SHARED / "golden/cases.json").read_text())}


@pytest.fixture(scope="module")
def difference() -> Callable[..., str | None]:
    """What `golden/check` says about two answers' lines: None, or what is wrong."""
    lines: Callable[..., str | None] = runpy.run_path(str(SHARED / "golden/check"))["lines"]
    return lines


def open_pixels(name: str) -> NDArray[np.uint8]:
    with Image.open(SHARED / "golden/images" / name) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("name", CASES)
def test_lines_are_those_of_the_original(
    name: str, reader: Reader, cases: dict[str, Any], difference: Callable[..., str | None]
) -> None:
    case = cases[name]
    expected, comparison = json.loads(case["body"]), json.loads(comparable(case)["body"])
    answer = reader.read(open_pixels(case["image"]), json.loads(case["entries"])["ocr"])
    assert difference(comparison["ocr"], answer, expected["imageWidth"], expected["imageHeight"]) is None
    # Far inside the tolerance: a change of arithmetic shows before it costs a character.
    scores = pytest.approx(sorted(expected["ocr"]["textScore"]), abs=TEXT_SCORE_TOLERANCE)
    assert sorted(answer["textScore"]) == scores
    assert sorted(answer["boxScore"]) == pytest.approx(sorted(expected["ocr"]["boxScore"]), abs=1e-4)


@pytest.mark.parametrize("name", ["wide_3000x200.png", "px_32x32.png"])
def test_odd_pictures_are_read_without_a_crash(name: str, reader: Reader) -> None:
    options = {
        "detection": {"options": {"minScore": 0.5, "maxResolution": 736}},
        "recognition": {"options": {"minScore": 0}},
    }
    answer = reader.read(open_pixels(name), options)
    assert np.isfinite([*answer["box"], *answer["boxScore"], *answer["textScore"]]).all()
