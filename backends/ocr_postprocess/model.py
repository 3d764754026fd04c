"""map, canvas_size, picture, min_score, score_mode ─[find lines, crop, group]→ boxes, scores, crops, groups"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.steps import answer_each, read, read_one
from transforms import InputError
from transforms.ocr_detection import ScoreMode, can_hold_text, find_lines
from transforms.ocr_recognition import crop_lines, group_lines, pack

_NONE = np.zeros((32, 32), np.float32)
_MODES = {mode.encode(): mode for mode in ScoreMode}


class TritonPythonModel:
    def initialize(self, args):
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def execute(self, requests):
        return answer_each(requests, self._answer, self._pool)

    def _answer(self, request):
        picture = read(request, "picture")[0]
        height, width = picture.shape[:2]
        rows, columns = read(request, "canvas_size")[0]
        probabilities = read(request, "map")[0, 0, :rows, :columns] if can_hold_text(height, width) else _NONE
        min_score, mode = float(read_one(request, "min_score")), read_one(request, "score_mode")
        if mode not in _MODES:
            raise InputError(f"score_mode is {mode!r}, not fast or slow")
        lines = find_lines(probabilities, height, width, min_score, _MODES[mode])
        crops, sizes = pack(crop_lines(picture, lines.boxes))
        groups = np.zeros(len(sizes), np.int32)
        for number, group in enumerate(group_lines(sizes)):
            groups[group.indices] = number
        return [
            pb_utils.Tensor("boxes", lines.boxes[None]),
            pb_utils.Tensor("scores", lines.scores[None]),
            pb_utils.Tensor("crops", crops[None]),
            pb_utils.Tensor("crop_sizes", sizes[None]),
            pb_utils.Tensor("groups", groups[None]),
        ]

    def finalize(self):
        self._pool.shutdown()
