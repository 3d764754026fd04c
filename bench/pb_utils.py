"""What a step imports as `triton_python_backend_utils`, outside of Triton: the real one is a part of it.

With it the backends run in any process: for the limit that a benchmark compares with, and for tests. As strict as the
real one where that matters: a tensor takes numpy arrays only, and a response is either tensors or an error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import triton_to_np_dtype

Array = NDArray[Any]


class TritonModelException(Exception):
    """What `initialize` raises to refuse a model."""


class TritonError(Exception):
    """An error as an answer. The codes are Triton's; their numbers are not."""

    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = range(8)

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        super().__init__(message)
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> int:
        return self._code


class Tensor:
    def __init__(self, name: str, array: Array) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} is no numpy array, but {type(array)}")
        if array.dtype == np.object_ and not all(isinstance(item, (bytes, str)) for item in array.ravel()):
            raise TypeError(f"{name} holds something other than bytes")
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Array:
        return self._array


class InferenceRequest:
    """A request with inputs by name; they lie in memory that others read too, and cannot be written to."""

    def __init__(self, *, cancelled: bool = False, **inputs: Array) -> None:
        self._cancelled = cancelled
        self._inputs = {name: Tensor(name, array) for name, array in inputs.items()}
        for array in inputs.values():
            array.flags.writeable = False

    def is_cancelled(self) -> bool:
        return self._cancelled

    def inputs(self) -> Sequence[Tensor]:
        return list(self._inputs.values())


class InferenceResponse:
    def __init__(self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None) -> None:
        if bool(output_tensors) == bool(error):
            raise TypeError("a response has either tensors or an error")
        self._tensors, self._error = list(output_tensors), error

    def output_tensors(self) -> list[Tensor]:
        return self._tensors

    def error(self) -> TritonError | None:
        return self._error


class Logger:
    """Keeps nothing: what a step logs is no part of its answer."""

    @staticmethod
    def log_error(message: str) -> None:
        pass

    log_info = log_error


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    return next((tensor for tensor in request.inputs() if tensor.name() == name), None)


def triton_string_to_numpy(triton_type: str) -> Any:
    return triton_to_np_dtype(triton_type.removeprefix("TYPE_").replace("STRING", "BYTES"))
