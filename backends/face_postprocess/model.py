"""heads, scale, min_score, picture ─[decode heads, suppress, align]→ boxes, scores, landmarks, crops"""

import json

import triton_python_backend_utils as pb_utils

from backends.pictures import Pictures
from backends.steps import answer_each, read, read_one, read_parameters
from transforms import faces

_OTHERS = ("scale", "min_score", "picture")


class TritonPythonModel:
    def initialize(self, args):
        self._size = int(read_parameters(args)["size"])
        self._pictures = Pictures()
        inputs = [tensor["name"] for tensor in json.loads(args["model_config"])["input"]]
        self._heads = [name for name in inputs if name not in _OTHERS]

    def execute(self, requests):
        return answer_each(requests, self._answer)

    def _answer(self, request):
        picture = self._pictures.fetch(read(request, "picture")[0])
        heads = [read(request, name) for name in self._heads]
        scale, min_score = (float(read_one(request, name)) for name in ("scale", "min_score"))
        found = faces.decode_heads(heads, scale, min_score, self._size)
        crops = faces.align(picture, found.landmarks)
        return [
            pb_utils.Tensor("boxes", found.boxes_xyxy[None]),
            pb_utils.Tensor("scores", found.scores[None]),
            pb_utils.Tensor("landmarks", found.landmarks[None]),
            pb_utils.Tensor("crops", crops[None]),
        ]
