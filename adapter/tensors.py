"""Tensors as Triton's HTTP interface has them: a JSON header, and behind it every tensor's bytes.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from tritonclient.utils import deserialize_bytes_tensor, np_to_triton_dtype, triton_to_np_dtype

Arrays = Mapping[str, NDArray[Any]]
"""Name → tensor; text and bytes as object arrays of `bytes`."""


def encode(inputs: Arrays) -> tuple[bytes, list[bytes | memoryview]]:
    """A request for inference: its header, and the bytes of the tensors from where they lie: nothing is copied."""
    tensors = {name: list(_pieces(array)) for name, array in inputs.items()}
    header = {
        "inputs": [
            {
                "name": name,
                "shape": array.shape,
                "datatype": np_to_triton_dtype(array.dtype),
                "parameters": {"binary_data_size": sum(map(len, tensors[name]))},
            }
            for name, array in inputs.items()
        ],
        "parameters": {"binary_data_output": True},
    }
    return orjson.dumps(header), [piece for pieces in tensors.values() for piece in pieces]


def decode(body: bytes, header_length: int) -> Arrays:
    """The tensors of an answer: read-only, and views of it where it has them at fit addresses."""
    outputs, start = {}, header_length
    for output in orjson.loads(body[:header_length])["outputs"]:
        end = start + output["parameters"]["binary_data_size"]
        flat = _flat(memoryview(body)[start:end], output["datatype"])
        outputs[output["name"]], start = flat.reshape(output["shape"]), end
    return outputs


def _pieces(array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    if array.dtype != np.object_:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        return
    for element in array.flat:
        yield len(element).to_bytes(4, "little")
        yield element


def _flat(content: memoryview, datatype: str) -> NDArray[Any]:
    if datatype == "BYTES":
        elements: NDArray[Any] = deserialize_bytes_tensor(content)
        return elements
    return np.require(np.frombuffer(content, triton_to_np_dtype(datatype)), requirements=["ALIGNED"])
