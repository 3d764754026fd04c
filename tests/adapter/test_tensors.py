"""Tensors as Triton sends and takes them, in the words of NVIDIA's own client."""

from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from adapter.tensors import decode, encode

PIXELS = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
TENSORS: dict[str, NDArray[Any]] = {
    "one picture": np.array([[b"jp\0eg\0"]], np.object_),
    "texts": np.array([[b"a"], [b""], ["ü".encode()]], np.object_),
    "no texts": np.empty((0, 1), np.object_),
    "numbers": np.array([[0.5, -1]], np.float32),
    "no boxes": np.zeros((1, 0, 4), np.float32),
    "pixels": PIXELS,
    "pixels, every other column": PIXELS[:, :, ::2],
    "pixels, transposed": PIXELS.transpose(0, 3, 1, 2),
    "ids": np.array([[1, 2**40]], np.int64),
    "flags": np.array([[True, False]]),
    "half": np.array([[1.5]], np.float16),
}


@pytest.mark.parametrize("names", [[name] for name in TENSORS] + [list(TENSORS)], ids=str)
def test_a_request_is_what_nvidias_client_would_send(names: list[str]) -> None:
    inputs = {name: TENSORS[name] for name in names}
    header, content = encode(inputs)
    body, header_length = InferenceServerClient.generate_request_body(
        [_input(*item) for item in inputs.items()]
    )
    assert orjson.loads(header) == orjson.loads(body[:header_length])
    assert b"".join(content) == body[header_length:]


def test_a_picture_is_sent_from_where_it_lies() -> None:
    picture = bytes(1000)
    _, content = encode({"image": np.array([[picture]], np.object_)})
    assert content[1] is picture


def test_pixels_are_sent_from_where_they_lie() -> None:
    _, (view,) = encode({"crops": PIXELS})
    assert np.shares_memory(np.asarray(view), PIXELS)


@pytest.mark.parametrize("padding", range(4))
def test_an_answer_is_read_wherever_its_tensors_begin(padding: int) -> None:
    body, header_length = _answer(TENSORS, padding)
    outputs = decode(body, header_length)
    assert list(outputs) == list(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(outputs[name], array)
        assert outputs[name].dtype == array.dtype
        assert outputs[name].flags.aligned


def _input(name: str, array: NDArray[Any]) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(array)


def _answer(outputs: dict[str, NDArray[Any]], padding: int) -> tuple[bytes, int]:
    """An answer of Triton, and the length of its header, to which spaces are added."""
    content = {name: _content(array) for name, array in outputs.items()}
    described = [
        {
            "name": name,
            "datatype": np_to_triton_dtype(array.dtype),
            "shape": array.shape,
            "parameters": {"binary_data_size": len(content[name])},
        }
        for name, array in outputs.items()
    ]
    header = orjson.dumps({"model_name": "m", "model_version": "1", "outputs": described}) + b" " * padding
    return header + b"".join(content.values()), len(header)


def _content(array: NDArray[Any]) -> bytes:
    if array.dtype != np.object_:
        return array.tobytes()
    return bytes(serialize_byte_tensor(array).item()) if array.size else b""
