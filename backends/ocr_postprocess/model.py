"""map, content_size, picture, min_score ─[find lines, crop, scale]→ boxes, scores, lines, widths, run_widths"""

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.pictures import Pictures
from backends.steps import answer_each, read, read_numbers, read_one, read_parameters
from transforms.ocr_canvas import can_hold_text
from transforms.ocr_detection import find_lines
from transforms.ocr_recognition import crop_lines, pack, run_width, scale_line

_NOTHING = np.zeros((32, 32), np.float32)


class TritonPythonModel:
    def initialize(self, args):
        self._widths = read_numbers(read_parameters(args)["widths"])
        self._pictures = Pictures()

    def execute(self, requests):
        return answer_each(requests, self._answer, in_threads=True)

    def _answer(self, request):
        picture = self._pictures.fetch(read(request, "picture")[0])
        height, width = picture.shape[:2]
        found = find_lines(
            self._probabilities(request, height, width), height, width, read_one(request, "min_score")
        )
        crops = crop_lines(picture, found.boxes)
        run_widths = np.array([run_width(*crop.shape[:2], self._widths) for crop in crops], np.int32)
        lines, widths = pack([scale_line(*pair) for pair in zip(crops, run_widths.tolist(), strict=True)])
        return [
            pb_utils.Tensor("boxes", found.boxes[None]),
            pb_utils.Tensor("scores", found.scores[None]),
            pb_utils.Tensor("lines", lines[None]),
            pb_utils.Tensor("widths", widths[None]),
            pb_utils.Tensor("run_widths", run_widths[None]),
        ]

    def _probabilities(self, request, height, width):
        """What the detector says of the picture: without an axis for channels, and without what lies beside it."""
        if not can_hold_text(height, width):
            return _NOTHING
        rows, columns = read(request, "content_size")[0]
        probabilities = read(request, "map")
        canvas = probabilities.reshape(probabilities.shape[-2:])
        return np.ascontiguousarray(canvas[:rows, :columns], np.float32)
