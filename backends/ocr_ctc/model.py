"""classes, certainties ─[merge repeats, drop blanks]→ text, score"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.steps import answer_each, read, read_parameters
from transforms.ocr_reading import read_characters, read_steps


class TritonPythonModel:
    def initialize(self, args):
        charset = Path(args["model_repository"]) / args["model_version"] / "charset.txt"
        classes = int(read_parameters(args)["classes"])
        self._characters = read_characters(charset.read_bytes().decode(), classes)

    def execute(self, requests):
        return answer_each(requests, self._answer)

    def _answer(self, request):
        texts, scores = read_steps(read(request, "classes"), read(request, "certainties"), self._characters)
        encoded = np.array([[text.encode()] for text in texts], np.object_)
        return [pb_utils.Tensor("text", encoded), pb_utils.Tensor("score", scores[:, None])]
