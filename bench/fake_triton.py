"""A Triton that computes nothing: it answers every inference at once with the same vector.

usage: python -m bench.fake_triton PORT DIMENSIONS
"""

import asyncio
import sys
from typing import cast

import httptools
import numpy as np
import orjson
import uvloop
from numpy.typing import NDArray

IMAGE_SIZE = np.array([[1080, 1440]], np.int32)
"""Height and width of every picture."""


def embedding(dimensions: int) -> NDArray[np.float32]:
    """The vector (1, dimensions) of every picture: made up, with as many digits as a real one."""
    return np.random.default_rng(0).normal(size=(1, dimensions)).astype(np.float32)


def inference_answer(dimensions: int) -> bytes:
    """What Triton says to an inference of a CLIP model: JSON, and behind it the tensors' bytes."""
    tensors = {"embedding": ("FP32", embedding(dimensions)), "image_size": ("INT32", IMAGE_SIZE)}
    outputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": array.shape,
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, (datatype, array) in tensors.items()
    ]
    header = orjson.dumps({"model_name": "m.visual", "model_version": "1", "outputs": outputs})
    content = header + b"".join(array.tobytes() for _, array in tensors.values())
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%b"
    ) % (len(header), len(content), content)


class FakeTriton(asyncio.Protocol):
    """One connection. Bodies are passed over: only the parser sees them."""

    def __init__(self, inference: bytes) -> None:
        self._inference = inference
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        is_inference = self._url.endswith(b"/infer")
        self._transport.write(
            self._inference if is_inference else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        )


async def serve(port: int, dimensions: int) -> None:
    """Serves on the loopback interface until the process is ended."""
    inference = inference_answer(dimensions)
    server = await asyncio.get_running_loop().create_server(lambda: FakeTriton(inference), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
