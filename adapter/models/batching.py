"""Graphs that were exported for one item at a time, made to take a batch."""

import onnx

from adapter.models.graph_file import RewriteError, inputs_of

BATCH = "batch"


def make_batch_dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gives a graph a batch axis: axis 0 of every input and output, named `batch`.

    Of a graph whose inputs have one already only the declared names are changed. The caller proves the result.

    Args:
        model: a graph whose inputs have a batch of 1, or a variable one. It is changed.

    Raises:
        RewriteError: the batch cannot be followed through the graph; the message names the node.
    """
    for value in inputs_of(model):
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_value:
            raise RewriteError(f"{value.name} has a fixed batch")
        dims[0].dim_param = BATCH
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].dim_param = BATCH
    return model


def pin_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fixes the batch of every input to 1."""
    for value in inputs_of(model):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model
