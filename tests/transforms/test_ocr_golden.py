"""The original's answers, from its own graphs run by ONNX Runtime with our transforms around them.

Far inside the tolerances of `golden/check`: a change of arithmetic shows before it costs a character.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from adapter.preparation.graphs.pixels import normalise
from adapter.preparation.triton_models.ocr import NORMALISATION
from tests.support.shared import SHARED
from transforms.ocr_canvas import resize_for_detection
from transforms.ocr_detection import Lines, find_lines
from transforms.ocr_reading import read_characters, read_steps
from transforms.ocr_recognition import crop_lines, run_width, scale_line

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SHARED.exists(), reason=f"{SHARED} is not here: the original's answers cannot be compared"
    ),
]
CASES = [
    "ocr-736-.5-.8/text_24_red_on_yellow.jpg",  # the order of Pillow's two passes shows here
    "ocr-736-.5-.8/logo.png",  # and here the last bits of a homography
    "ocr-736-.5-.8/tall_200x3000.png",  # standing lines
    "ocr-736-.5-.9/text_accents.png",
    "ocr-736-.5-.9/text_angle_15.jpg",
    "ocr-736-.5-.9/page.png",
]
TEXT_SCORE_TOLERANCE = 5e-4
"""2.6e-4 on a processor without AVX-512, where LAPACK ends a homography with other last bits; 2e-7 with it."""


class Reader:
    def __init__(self, model: Path) -> None:
        self._detector = self._session(model / "detection/model.onnx")
        self._recognizer = self._session(model / "recognition/model.onnx")
        characters = self._recognizer.get_modelmeta().custom_metadata_map["character"]
        self._characters = read_characters(characters, self._recognizer.get_outputs()[0].shape[2])

    @staticmethod
    def _session(path: Path) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 2
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def detect(self, pixels: NDArray[np.uint8], options: dict[str, Any]) -> Lines:
        canvas, _ = resize_for_detection(pixels, options["maxResolution"])
        (found,) = self._detector.run(None, {"x": normalise(canvas[np.newaxis], NORMALISATION)})
        return find_lines(found[0, 0], pixels.shape[0], pixels.shape[1], options["minScore"])

    def read(self, crop: NDArray[np.uint8]) -> tuple[str, float]:
        width = run_width(crop.shape[0], crop.shape[1])
        line = normalise(scale_line(crop, width)[np.newaxis], NORMALISATION)
        padded = np.pad(line, [(0, 0), (0, 0), (0, 0), (0, width - line.shape[3])])
        (found,) = self._recognizer.run(None, {"x": padded})
        (text,), (score,) = read_steps(found.argmax(2), found.max(2), self._characters)
        return text, score


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(SHARED / "models/ocr/PP-OCRv5_mobile")


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    return {case["id"]: case for case in json.loads((SHARED / "golden/cases-3.3.json").read_text())}


@pytest.mark.parametrize("name", CASES)
def test_lines_are_those_of_the_original(name: str, reader: Reader, cases: dict[str, Any]) -> None:
    options, expected = (json.loads(cases[name][key])["ocr"] for key in ("entries", "body"))
    with Image.open(SHARED / "golden/images" / cases[name]["image"]) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    lines = reader.detect(pixels, options["detection"]["options"])
    found = [reader.read(crop) for crop in crop_lines(pixels, lines.boxes)]
    kept = [n for n, (_, score) in enumerate(found) if score > options["recognition"]["options"]["minScore"]]
    assert [found[n][0] for n in kept] == expected["text"]
    size = np.array(pixels.shape[1::-1], np.float32)
    np.testing.assert_allclose((lines.boxes[kept] / size).ravel(), expected["box"], atol=1e-7)
    np.testing.assert_allclose(lines.scores[kept], expected["boxScore"], atol=1e-5)
    np.testing.assert_allclose([found[n][1] for n in kept], expected["textScore"], atol=TEXT_SCORE_TOLERANCE)
