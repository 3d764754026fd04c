"""What the generators of all tasks share: common tensors, the model that runs a graph, and the draft they end in."""

from collections.abc import Sequence

from adapter.models.config import Model, Tensor, without_batching
from adapter.models.repository import Draft, Preferences
from adapter.models.rewrite import Prepared, RewriteError

IMAGE = Tensor("image", "STRING", (1,), "an encoded picture")
IMAGE_SIZE = Tensor("image_size", "INT32", (2,), "height, width of the picture as sent")


def same(*tensors: Tensor) -> dict[str, str]:
    """The map of an ensemble's step whose tensors are named alike inside and outside."""
    return {tensor.name: tensor.name for tensor in tensors}


SHAPES_VARY = {"arena_extend_strategy": "1", "cudnn_conv_algo_search": "1", "enable_mem_pattern": "0"}
"""For a graph whose input has many shapes: a GPU's memory grows by what a shape needs, not by the next power of
two, and no convolution is searched for anew. A CPU reads the last one only."""


def flag(value: bool) -> str:
    """A parameter that is on or off."""
    return "true" if value else "false"


def graph_model(
    name: str,
    comment: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    preferences: Preferences,
    *,
    shapes_vary: bool = False,
) -> Model:
    """A model that runs a graph: on a GPU where there is one."""
    threads = {
        "intra_op_thread_count": preferences.intra_op_threads,
        "inter_op_thread_count": preferences.inter_op_threads,
    }
    parameters = {key: str(count) for key, count in threads.items() if count}
    if shapes_vary:
        parameters |= SHAPES_VARY
    return Model(
        name, comment, inputs, outputs, backend="onnxruntime", kind="KIND_AUTO", parameters=parameters
    )


def embedding_of(graph: Prepared) -> Tensor:
    """The graph's vector, without the batch axis: some exports give more than that.

    Raises:
        RewriteError: it gives none.
    """
    skip = 0 if graph.batchable else 1
    for tensor in graph.outputs:
        if tensor.type == "FP32" and len(tensor.dims) - skip == 1:
            return Tensor(tensor.name, "FP32", tensor.dims[skip:])
    raise RewriteError(f"the graph gives no float32 vector; its outputs are {graph.outputs}")


def draft(models: Sequence[Model], *graphs: Prepared) -> Draft:
    """The draft of a part: batched if its graphs are."""
    reasons = tuple(f"not batched: {graph.why_not}" for graph in graphs if not graph.batchable)
    return Draft([without_batching(model) for model in models] if reasons else models, reasons)
