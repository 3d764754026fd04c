"""image, max_resolution ─[decode, resize, pad]→ pixels, canvas_size, picture, image_size"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.steps import answer_each, read_one, read_parameters
from transforms import images
from transforms.ocr_detection import MIN_SIDE_PX, can_hold_text, pad_to_bucket, resize_for_detection


class TritonPythonModel:
    def initialize(self, args):
        parameters = read_parameters(args)
        self._max_pixels = int(parameters["max_pixels"])
        self._buckets = parameters["buckets"] == "true"
        self._pool = ThreadPoolExecutor(os.cpu_count())  # Pillow decodes and resizes without the GIL

    def execute(self, requests):
        return answer_each(requests, self._answer, self._pool)

    def _answer(self, request):
        picture = images.decode(read_one(request, "image"), self._max_pixels)
        height, width = picture.shape[:2]
        if can_hold_text(height, width):
            pixels = resize_for_detection(picture, int(read_one(request, "max_resolution")))
        else:  # the detector gets something, in which it finds nothing
            pixels = np.zeros((MIN_SIDE_PX, MIN_SIDE_PX, 3), np.uint8)
        canvas_size = np.array([pixels.shape[:2]], np.int32)
        if self._buckets:
            pixels = pad_to_bucket(pixels)
        return [
            pb_utils.Tensor("pixels", pixels[None]),
            pb_utils.Tensor("canvas_size", canvas_size),
            pb_utils.Tensor("picture", picture[None]),
            pb_utils.Tensor("image_size", np.array([[height, width]], np.int32)),
        ]

    def finalize(self):
        self._pool.shutdown()
