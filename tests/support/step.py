"""A `model.py` run as Triton runs it: from a config.pbtxt, several requests at a time, its answers checked."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import triton_to_np_dtype

from adapter.preparation.triton_models.shared import VERSION
from bench.pb_utils import InferenceRequest, InferenceResponse, TritonError
from tests.support.configs import Config, as_triton_hands_it_on, parse
from tests.support.defaults import COMMITTED

Array = NDArray[Any]
Answer = dict[str, Array] | TritonError


class Step:
    """A loaded model.

    Args:
        config: its config.pbtxt, parsed. Responses are held against its outputs.
        folder: its folder in a model repository, with its files in the version's folder.
        kind: of the instance, as Triton names it: CPU, GPU, AUTO.
    """

    def __init__(self, config: Config, folder: Path, kind: str = "CPU") -> None:
        self._config = config
        self.model = importlib.import_module(f"backends.{config.backend}.model").TritonPythonModel()
        self.model.initialize(
            {
                "model_config": as_triton_hands_it_on(config),
                "model_repository": str(folder),
                "model_version": VERSION,
                "model_instance_kind": kind,
                "model_name": config.name,
            }
        )

    def run(self, *requests: InferenceRequest) -> list[Answer]:
        """The answers to requests that came together: arrays by name, or the error."""
        responses: Sequence[InferenceResponse] = self.model.execute(list(requests))
        assert len(responses) == len(requests), "not one response a request"
        return [self._answer(response) for response in responses]

    def close(self) -> None:
        if hasattr(self.model, "finalize"):
            self.model.finalize()

    def _answer(self, response: InferenceResponse) -> Answer:
        if error := response.error():
            return error
        arrays = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        assert set(arrays) == {output.name for output in self._config.output}
        for output in json.loads(as_triton_hands_it_on(self._config))["output"]:
            self._check(arrays[output["name"]], output)
        return arrays

    def _check(self, array: Array, output: dict[str, Any]) -> None:
        kind = output["data_type"].removeprefix("TYPE_").replace("STRING", "BYTES")
        assert array.dtype == np.dtype(triton_to_np_dtype(kind)), output
        dims = [*([-1] if self._config.max_batch_size else []), *output["dims"]]
        assert len(array.shape) == len(dims), (array.shape, output)
        assert all(want in (-1, has) for has, want in zip(array.shape, dims, strict=True)), (
            array.shape,
            output,
        )


def committed(model: str, **parameters: str) -> Config:
    """The config of a default model as committed, with other parameters."""
    config = parse((COMMITTED / model / "config.pbtxt").read_text())
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    return config


def arrays(answer: Answer) -> dict[str, Array]:
    """The tensors of an answer that is no error."""
    assert not isinstance(answer, TritonError), answer.message()
    return answer


def fault(answer: Answer) -> tuple[int, str]:
    """Code and message of an answer that is an error."""
    assert isinstance(answer, TritonError), "it is no error"
    return answer.code(), answer.message()


def texts(*values: bytes) -> NDArray[np.object_]:
    """A BYTES tensor of shape (n, 1)."""
    return np.array([[value] for value in values], np.object_)
