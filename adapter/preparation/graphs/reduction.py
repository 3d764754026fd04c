"""A graph in float32 made one in less precision. Inputs and outputs keep their types, so that no config changes.

The converters are imported where they are used: they take 14 MB, and are seldom wanted.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from adapter.preparation.graphs.file import external_locations, read
from adapter.preparation.graphs.nodes import replace_nodes

LARGEST_HALF = float(np.finfo(np.float16).max)


def halve(source: Path, target: Path) -> None:
    """Half precision: weights and arithmetic in float16, but for operators that have none."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = convert_float_to_float16(_load(source), keep_io_types=True, disable_shape_infer=True)
    OnnxModel.graph_topological_sort(model.graph)  # its casts are put at the end
    _save(model, target, source)


def round_to_half(source: Path, target: Path) -> None:
    """The graph in float32, but every tensor in it rounded to float16: what half precision gives on a GPU.

    A GPU adds up in float32 and stores float16. A CPU cannot show that with a graph in float16: the runtime computes
    it in float32 from one operator to the next, where nothing is rounded and nothing too large for a float16.
    """
    model = _load(source)
    values = (*model.graph.value_info, *model.graph.output)
    floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    replace_nodes(model.graph, [made for node in model.graph.node for made in _rounded(node, floats)])
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            near = np.clip(numpy_helper.to_array(tensor), -LARGEST_HALF, LARGEST_HALF)
            tensor.CopyFrom(numpy_helper.from_array(near.astype(np.float16).astype(np.float32), tensor.name))
    _save(model, target, source)


def quantise(source: Path, target: Path) -> None:
    """Matrix products with weights in 8-bit integers: weights by column, the other side by its range in each run.

    Unsigned weights: products with signed ones overflow the 16 bits that a CPU without VNNI adds them up in, and a
    vector would depend on the kind of CPU. With VNNI both are computed by the same kernel.

    Source: onnxruntime, "Quantize ONNX models", U8S8 and U8U8; its `mlas/lib/platform.cpp` for the kernels.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],  # and Gemm, which becomes one
        per_channel=True,
        weight_type=QuantType.QUInt8,
        use_external_data_format=bool(external_locations(read(source))),
    )


def is_transformer(graph: Path) -> bool:
    """Whether a graph works by matrix products rather than by convolutions."""
    operators = [node.op_type for node in read(graph).graph.node]
    return operators.count("MatMul") + operators.count("Gemm") > operators.count("Conv")


def _rounded(node: onnx.NodeProto, floats: set[str]) -> Iterator[onnx.NodeProto]:
    """The node, and two casts behind each of its float outputs."""
    outputs = [name for name in node.output if name in floats and node.op_type != "Constant"]
    exact = {name: f"{name}/exact" for name in outputs}
    node.output[:] = [exact.get(name, name) for name in node.output]
    yield node
    for name in outputs:
        yield helper.make_node("Cast", [exact[name]], [f"{name}/half"], to=TensorProto.FLOAT16)
        yield helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT)


def _load(path: Path) -> onnx.ModelProto:
    """With all types told, and then all weights: types are not told of what is larger than 2 GB."""
    model = shape_inference.infer_shapes(read(path))
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


def _save(model: onnx.ModelProto, path: Path, like: Path) -> None:
    """Weights lie in a file of their own where `like` has them so: what is smaller fits where it fitted."""
    beside = bool(external_locations(read(like)))
    onnx.save_model(model, path, save_as_external_data=beside, location=f"{path.name}.data")
