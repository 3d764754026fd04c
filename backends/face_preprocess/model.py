"""image ─[decode, letterbox]→ pixels, scale, picture, image_size"""

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.pictures import Pictures
from backends.steps import answer_each, read_one, read_parameters
from transforms import faces, images


class TritonPythonModel:
    def initialize(self, args):
        parameters = read_parameters(args)
        self._size = int(parameters["size"])
        self._max_pixels = int(parameters["max_pixels"])
        self._pictures = Pictures()

    def execute(self, requests):
        return answer_each(requests, self._answer, in_threads=True)

    def _answer(self, request):
        picture = images.decode(read_one(request, "image"), self._max_pixels)
        canvas, scale = faces.letterbox(picture, self._size)
        return [
            pb_utils.Tensor("pixels", canvas[None]),
            pb_utils.Tensor("scale", np.array([[scale]], np.float32)),
            pb_utils.Tensor("picture", self._pictures.leave(picture)[None]),
            pb_utils.Tensor("image_size", np.array([picture.shape[:2]], np.int32)),
        ]

    def finalize(self):
        self._pictures.close()
