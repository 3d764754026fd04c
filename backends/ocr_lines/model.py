"""crops, crop_sizes ─[unpack, resize, normalise, pad]→ lines"""

import triton_python_backend_utils as pb_utils

from backends.steps import answer_each, read, read_parameters
from transforms import InputError
from transforms.ocr_detection import snap
from transforms.ocr_recognition import BUCKETS_PX, GROUP_SIZE, group_lines, line_batch, unpack


class TritonPythonModel:
    def initialize(self, args):
        self._buckets = BUCKETS_PX if read_parameters(args)["buckets"] == "true" else ()

    def execute(self, requests):
        return answer_each(requests, self._answer)

    def _answer(self, request):
        sizes = read(request, "crop_sizes")
        if not 1 <= len(sizes) <= GROUP_SIZE:
            raise InputError(f"{len(sizes)} lines in a group; there are 1 to {GROUP_SIZE}")
        try:
            crops = unpack(read(request, "crops"), sizes)
        except ValueError as error:
            raise InputError(str(error)) from error
        (group,) = group_lines(sizes)
        return [pb_utils.Tensor("lines", line_batch(crops, snap(group.width, self._buckets)))]
