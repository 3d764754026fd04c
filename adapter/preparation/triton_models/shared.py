"""What the generators of all tasks share: what they return, common tensors, and the model that runs a graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapter.preparation.config import Model, Tensor, without_batching
from adapter.preparation.graphs.rewrite import Rewritten
from adapter.protocol import GRAPH
from adapter.settings import Device, PreparationSettings

VERSION = "1"


@dataclass(frozen=True)
class Generated:
    """What a generator makes of a part, whose files it has written to the staging folder.

    Attributes:
        models: what their configs are to say, the public one last.
        notes: what the log should say of the part.
    """

    models: Sequence[Model]
    notes: tuple[str, ...] = ()


def version_folder(staging: Path, model: str) -> Path:
    """The folder for a model's files, made if it is not there."""
    folder = staging / model / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def graph_file(staging: Path, model: str) -> Path:
    """Where a model's graph is to be written."""
    return version_folder(staging, model) / GRAPH


IMAGE = Tensor("image", "STRING", (1,), "an encoded picture")
IMAGE_SIZE = Tensor("image_size", "INT32", (2,), "height, width of the picture as sent")
PICTURE = Tensor("picture", "UINT8", (-1,), "a note of where its pixels lie", ragged=True)


def same(*tensors: Tensor) -> dict[str, str]:
    """The map of an ensemble's step whose tensors are named alike inside and outside."""
    return {tensor.name: tensor.name for tensor in tensors}


SHAPES_VARY = {"arena_extend_strategy": "1", "cudnn_conv_algo_search": "1", "enable_mem_pattern": "0"}
"""For a graph whose input has many shapes: a GPU's memory grows by what a shape needs, not by the next power of
two, and no convolution is searched for anew. A CPU reads the last one only."""


SHRINKAGE = "memory.enable_memory_arena_shrinkage"
"""What a run took is given back, so that the largest does not keep it; our own backend does so after large runs."""


CPU_BATCH = 8
"""Items of one run on a CPU, where nothing else was measured to be better: docs/performance.md."""
GPU_BATCH = 32
"""Items of one run on a GPU, where a graph's input has one shape."""


def flag(value: bool) -> str:
    """A parameter that is on or off."""
    return "true" if value else "false"


def graph_model(
    name: str,
    comment: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    settings: PreparationSettings,
    *,
    one_shape: bool = False,
    half: bool = False,
    urgent: bool = False,
    cpu_batch: int = CPU_BATCH,
    apart: bool = False,
) -> Model:
    """A model that runs a graph: on a GPU where there is one.

    Args:
        one_shape: whether the input has one shape or a few, rather than many.
        half: whether it computes in float16.
        urgent: whether somebody waits for the answer, so that it goes before others.
        cpu_batch: items that Triton gathers for one run where there is no GPU.
        apart: for a graph that Triton must not batch: whether a CPU may run the items of its first axis side by side.
    """
    threads = {
        "intra_op_thread_count": settings.intra_op_threads,
        "inter_op_thread_count": settings.inter_op_threads,
    }
    parameters = {key: str(count) for key, count in threads.items() if count}
    if not one_shape:
        parameters |= {**SHAPES_VARY, SHRINKAGE: f"{settings.device}:0"}
    if apart and settings.device is Device.CPU:
        parameters["items"] = "apart"
    model = Model(
        name,
        comment,
        inputs,
        outputs,
        backend="onnxruntime",
        kind="KIND_AUTO",
        half=half,
        urgent=urgent,
        parameters=parameters,
    )
    if settings.device is Device.GPU:
        return _on_gpu(model, settings, one_shape=one_shape)
    return replace(model, max_batch_size=cpu_batch)


def _on_gpu(model: Model, settings: PreparationSettings, *, one_shape: bool) -> Model:
    parameters = {**model.parameters, "arena_extend_strategy": "1", "cudnn_conv_algo_search": "1"}
    if not one_shape and settings.gpu_memory_mib:
        parameters["gpu_mem_limit"] = str(settings.gpu_memory_mib * 2**20)
    return replace(
        model,
        kind="KIND_GPU",
        instances=settings.gpu_instances,
        parameters=parameters,
    )


def for_device(models: Sequence[Model], settings: PreparationSettings) -> Sequence[Model]:
    """The models of a part whose graph's input has one shape: with larger batches on a GPU."""
    if settings.device is not Device.GPU:
        return models
    return [replace(model, max_batch_size=GPU_BATCH) for model in models]


def generated(models: Sequence[Model], *graphs: Rewritten) -> Generated:
    """A part that is batched if its graphs are. The public ensemble takes what each of its steps takes."""
    reasons = tuple(f"not batched: {graph.why_not}" for graph in graphs if not graph.batchable)
    if reasons:
        models = [without_batching(model) for model in models]
    limit = min(model.max_batch_size for model in models)
    notes = tuple(note for graph in graphs for note in graph.notes)
    return Generated([*models[:-1], replace(models[-1], max_batch_size=limit)], (*reasons, *notes))
