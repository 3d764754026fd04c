"""text, language ─[clean, tokenise]→ tokens, attention_mask"""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils

from backends.steps import answer_each, read, read_numbers, read_parameters
from transforms import InputError
from transforms.text import Tokenizer


class TritonPythonModel:
    def initialize(self, args):
        parameters = read_parameters(args)
        self._tokenizer = Tokenizer(
            Path(args["model_repository"]) / args["model_version"] / "tokenizer.json",
            pad_token=parameters["pad_token"],
            context_length=int(parameters["context_length"]),
            buckets=read_numbers(parameters.get("buckets", "")),
            canonicalize=parameters["canonicalize"] == "true",
            language_prefix=parameters["language_prefix"] == "true",
        )
        outputs = json.loads(args["model_config"])["output"]
        self._types = {
            output["name"]: pb_utils.triton_string_to_numpy(output["data_type"]) for output in outputs
        }

    def execute(self, requests):
        return answer_each(requests, self._answer)

    def _answer(self, request):
        texts, languages = (
            [_decode(value) for value in read(request, name).ravel()] for name in ("text", "language")
        )
        tokens = self._tokenizer.encode(texts, languages)
        arrays = {"tokens": tokens.ids, "attention_mask": tokens.mask}
        return [
            pb_utils.Tensor(name, arrays[name].astype(dtype, copy=False))
            for name, dtype in self._types.items()
        ]


def _decode(value):
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InputError("The text is not UTF-8.") from error
