"""ONNX graphs on disk: read without their files of weights, written beside links to them."""

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from onnx import external_data_helper, helper
from tritonclient.utils import np_to_triton_dtype

from adapter.preparation.config import Tensor


class RewriteError(Exception):
    """The graph is not one that can be read, or changed in the way that was asked."""


def read(path: Path) -> onnx.ModelProto:
    """The graph at `path`; weights that lie in files of their own are not read.

    Raises:
        OSError: it cannot be read.
        RewriteError: it is not ONNX.
    """
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's, which is none of ONNX's
        raise RewriteError(f"{path} is not an ONNX graph: {error}") from error
    if not model.graph.node:
        raise RewriteError(f"{path} is not an ONNX graph: it holds no node")
    return model


def write(model: onnx.ModelProto, path: Path, source: Path) -> None:
    """Saves a graph that was read from `source`; its weights' files are linked, or copied, beside it.

    Raises:
        OSError: it cannot be written.
        RewriteError: a file of weights is missing, or lies outside the source's folder.
    """
    for location in external_locations(model):
        _link(source.parent / location, path.parent / location)
    path.write_bytes(model.SerializeToString())


def put_weights_beside(path: Path) -> None:
    """Moves a graph's weights into a file of their own, which OpenVINO maps instead of holding a second copy.

    What is mapped is given back when memory is short.
    """
    model = read(path)
    if not external_locations(model):
        onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}.data")


def copy_links(path: Path) -> None:
    """Puts copies in the place of a graph's linked files of weights: ONNX's own loader refuses links."""
    for location in external_locations(read(path)):
        linked = path.parent / location
        copy = linked.with_name(f"{linked.name}.copy")
        shutil.copyfile(linked, copy)
        copy.replace(linked)


def external_locations(model: onnx.ModelProto) -> list[str]:
    """Files that hold weights of the graph, relative to its folder.

    Raises:
        RewriteError: one is absolute or leads out of the folder.
    """
    found = {
        entry.value
        for tensor in _tensors(model.graph)
        if external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for location in found:
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts or "\\" in location or not path.parts:
            raise RewriteError(f"weights may not lie outside the graph's folder: {location!r}")
    return sorted(found)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the graph is written in.

    Raises:
        RewriteError: the graph does not say.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise RewriteError("the graph does not say which opset it is written in")
    return int(max(versions))


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What a caller has to give; old graphs list their weights among the inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def declared_inputs(model: onnx.ModelProto) -> tuple[Tensor, ...]:
    """The inputs as the graph declares them, with the batch axis; -1 is variable.

    Raises:
        RewriteError: one is of a type that Triton does not know, or has no shape.
    """
    return tuple(Tensor(value.name, triton_type(_dtype(value)), _dims(value)) for value in inputs_of(model))


def triton_type(dtype: np.dtype[Any]) -> str:
    """Triton's name of the type of an array, without `TYPE_`.

    Raises:
        RewriteError: there is none.
    """
    name = np_to_triton_dtype(dtype)
    if name in (None, "BYTES"):
        raise RewriteError(f"Triton has no type for {dtype}")
    return str(name)


def _dtype(value: onnx.ValueInfoProto) -> np.dtype[Any]:
    return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    if not value.type.tensor_type.HasField("shape"):
        raise RewriteError(f"the graph declares no shape for {value.name}")
    return tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _tensors(inner)


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        raise RewriteError(f"the graph's weights are missing: {source}")
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
