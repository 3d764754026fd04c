"""image ─[decode, resize, crop]→ pixels, image_size"""

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.steps import answer_each, read, read_parameters
from transforms import images


class TritonPythonModel:
    def initialize(self, args):
        parameters = read_parameters(args)
        self._size = int(parameters["size"])
        self._max_pixels = int(parameters["max_pixels"])
        self._resize = {key: parameters[key] for key in ("resize_mode", "interpolation")}

    def execute(self, requests):
        return answer_each(requests, self._answer, in_threads=True)

    def _answer(self, request):
        pictures = [images.decode(data, self._max_pixels) for data in read(request, "image").ravel()]
        pixels = [images.clip_pixels(picture, self._size, **self._resize) for picture in pictures]
        sizes = np.array([picture.shape[:2] for picture in pictures], np.int32)
        return [pb_utils.Tensor("pixels", np.stack(pixels)), pb_utils.Tensor("image_size", sizes)]
