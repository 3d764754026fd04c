"""Runs a small graph on the GPU, in a process of its own: a driver that hangs or crashes harms nobody else.

usage: python -m adapter.preparation.trial     ends with 0 where the graph ran there, else with the reason on stderr
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CUDA = "CUDAExecutionProvider"
SIDE_PX = 8


def main() -> None:
    """Runs a convolution and a product of matrices: what needs cuDNN, and what needs cuBLAS."""
    if CUDA not in onnxruntime.get_available_providers():
        raise SystemExit("Error: the package onnxruntime-gpu is not installed; scripts/setup installs it")
    onnxruntime.preload_dlls(msvc=False)
    session = onnxruntime.InferenceSession(_graph(), providers=[CUDA])
    session.disable_fallback()
    if session.get_providers()[0] != CUDA:
        raise SystemExit("Error: ONNX Runtime gave the GPU up")
    session.run(None, {"x": np.ones((1, 1, SIDE_PX, SIDE_PX), np.float32)})


def _graph() -> bytes:
    ones = {"w": (1, 1, 3, 3), "m": (SIDE_PX - 2, SIDE_PX)}
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in ones.items()]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("MatMul", ["c", "m"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, SIDE_PX - 2, SIDE_PX])
    graph = helper.make_graph(nodes, "trial", [x], [y], weights)
    content: bytes = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    ).SerializeToString()
    return content


if __name__ == "__main__":
    main()
