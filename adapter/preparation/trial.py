"""Runs a small graph on the GPU, in a process of its own: a driver that hangs or crashes harms nobody else.

usage: python -m adapter.preparation.trial gpu|intel     ends with 0 where the graph ran there, else with the reason on
stderr
"""

import sys
from typing import Any

import numpy as np
import onnxruntime
from onnx import parser

from adapter.setting_types import Device
from backends.onnxruntime import engines

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
    if sys.argv[1] == Device.GPU and CUDA not in onnxruntime.get_available_providers():
        raise SystemExit("Error: the package onnxruntime-gpu is not installed; scripts/setup installs it")
    graph = parser.parse_model(GRAPH).SerializeToString()
    try:
        session = _engine(sys.argv[1]).open(graph, onnxruntime.SessionOptions())
    except engines.Missing as error:
        raise SystemExit(f"Error: {error}") from None
    session.run(None, {"x": np.ones((1, 1, 8, 8), np.float32)})


def _engine(device: str) -> Any:
    return engines.Cuda({}, 0) if device == Device.GPU else engines.OpenVino(engines.GRAPHICS)


if __name__ == "__main__":
    main()
