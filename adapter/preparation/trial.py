"""Runs a small graph on the GPU, in a process of its own: a driver that hangs or crashes harms nobody else.

usage: python -m adapter.preparation.trial     ends with 0 where the graph ran there, else with the reason on stderr
"""

import numpy as np
import onnxruntime
from onnx import parser

CUDA = "CUDAExecutionProvider"
GRAPH = """
<ir_version: 8, opset_import: ["": 17]>
trial (float[1, 1, 8, 8] x) => (float[1, 1, 6, 6] y)
<float[1, 1, 3, 3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}>
{
    c = Conv (x, w)
    y = MatMul (c, c)
}
"""
"""A convolution and a product of matrices: what needs cuDNN, and what needs cuBLAS."""


def main() -> None:
    """Runs it."""
    if CUDA not in onnxruntime.get_available_providers():
        raise SystemExit("Error: the package onnxruntime-gpu is not installed; scripts/setup installs it")
    onnxruntime.preload_dlls(msvc=False)
    session = onnxruntime.InferenceSession(parser.parse_model(GRAPH).SerializeToString(), providers=[CUDA])
    session.disable_fallback()
    if session.get_providers()[0] != CUDA:
        raise SystemExit("Error: ONNX Runtime gave the GPU up")
    session.run(None, {"x": np.ones((1, 1, 8, 8), np.float32)})


if __name__ == "__main__":
    main()
