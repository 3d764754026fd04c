"""What every Python step shares: reading its parameters, and answering each request of a batch by itself.

Imported inside Triton's Python stub only.
"""

import ctypes
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import triton_python_backend_utils as pb_utils

from backends import cores, pictures
from transforms import InputError

Answer = Callable[["pb_utils.InferenceRequest"], Sequence["pb_utils.Tensor"]]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_C = ctypes.CDLL(None)
_C.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
_C.mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)
# The C library keeps what a preview took for the next one. To be given 15 MB anew cost each picture 7 of its 16 ms.

_THREADS = ThreadPoolExecutor(cores.logical())
"""For work on pictures: Pillow, OpenCV and the kernels go on without the GIL."""


def read_parameters(args: dict[str, str]) -> dict[str, str]:
    """The `parameters` of a model's config.pbtxt."""
    parameters = json.loads(args["model_config"])["parameters"]
    return {key: value["string_value"] for key, value in parameters.items()}


def read_numbers(text: str, kind: Callable[[str], object] = int):
    """The numbers of a parameter that lists some, or none, with commas."""
    return tuple(kind(number) for number in text.split(",") if number)


def answer_each(requests, answer: Answer, *, in_threads: bool = False):
    """One response a request, in order. A request that fails is answered with its own error; the others are not harmed.

    Args:
        requests: what `execute` gets.
        answer: makes the output tensors of one request.
        in_threads: whether requests are worked on side by side.
    """
    run = _THREADS.map if in_threads else map
    return list(run(lambda request: _respond(request, answer), requests))


def _respond(request, answer: Answer):
    if request.is_cancelled():
        return _failure("the request was cancelled", pb_utils.TritonError.CANCELLED)
    try:
        return pb_utils.InferenceResponse(answer(request))
    except InputError as error:
        return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
    except pictures.Gone as error:  # whoever asks is to ask again, from the start
        return _failure(str(error), pb_utils.TritonError.UNAVAILABLE)
    except Exception as error:  # an exception out of `execute` would harm the whole batch, and the stub
        pb_utils.Logger.log_error(f"{type(error).__name__}: {error}")
        return _failure(f"{type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL)


def _failure(message: str, code: int):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def read(request, name: str):
    """A request's input tensor as a numpy array, batch axis first."""
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def read_one(request, name: str):
    """The only element of an input of shape (1, 1).

    Raises:
        InputError: the request holds several; a picture's faces and lines are its own request's.
    """
    elements = read(request, name).ravel()
    if len(elements) != 1:
        raise InputError(f"{name} has {len(elements)} elements; send one picture a request")
    return elements[0]
