"""image, max_resolution ─[decode, resize, put on a canvas]→ pixels, content_size, picture, image_size"""

from fractions import Fraction

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.pictures import Pictures
from backends.steps import answer_each, read_numbers, read_one, read_parameters
from transforms import images
from transforms.ocr_canvas import MIN_SIDE_PX, can_hold_text, resize_for_detection

_BLANK = np.zeros((MIN_SIDE_PX, MIN_SIDE_PX, 3), np.uint8)


class TritonPythonModel:
    def initialize(self, args):
        parameters = read_parameters(args)
        self._max_pixels = int(parameters["max_pixels"])
        self._aspects = read_numbers(parameters["canvas_aspects"], Fraction)
        self._pictures = Pictures()

    def execute(self, requests):
        return answer_each(requests, self._answer, in_threads=True)

    def _answer(self, request):
        picture = images.decode(read_one(request, "image"), self._max_pixels)
        shown = picture if can_hold_text(*picture.shape[:2]) else _BLANK
        canvas, content = resize_for_detection(shown, int(read_one(request, "max_resolution")), self._aspects)
        return [
            pb_utils.Tensor("pixels", canvas[None]),
            pb_utils.Tensor("content_size", np.array([content], np.int32)),
            pb_utils.Tensor("picture", self._pictures.leave(picture)[None]),
            pb_utils.Tensor("image_size", np.array([picture.shape[:2]], np.int32)),
        ]

    def finalize(self):
        self._pictures.close()
