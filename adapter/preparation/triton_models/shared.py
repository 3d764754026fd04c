"""What the generators of all tasks share: what they return, common tensors, and the model that runs a graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapter.preparation.config import Engine, Model, Tensor, without_batching
from adapter.preparation.graphs.engine import Trial, choose
from adapter.preparation.graphs.file import put_weights_beside
from adapter.preparation.graphs.rewrite import Rewritten
from adapter.preparation.triton_models import gpu
from adapter.preparation.triton_models.gpu import Plan
from adapter.protocol import GRAPH
from adapter.setting_types import Device
from adapter.settings import PreparationSettings
from backends.onnxruntime import engines

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


SHAPES_VARY = {"enable_mem_pattern": "0", "memory.enable_memory_arena_shrinkage": "cpu:0"}
"""For a graph whose input has many shapes on a CPU: no memory is planned by the first of them, and what an unusually
large run took is given back."""

CPU_BATCH = 8
"""Items of one run on a CPU, where nothing else was measured to be better: docs/performance.md."""
STEP_BACKENDS = {
    "clip_preprocess",
    "face_preprocess",
    "face_postprocess",
    "ocr_preprocess",
    "ocr_postprocess",
}
"""Those that have a picture in their hands."""


def flag(value: bool) -> str:
    """A parameter that is on or off."""
    return "true" if value else "false"


def graph_model(
    name: str,
    comment: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    settings: PreparationSettings,
    graph: Path,
    plan: Plan,
    *,
    trial: Trial | None = None,
    one_shape: bool = False,
    half: bool = False,
    urgent: bool = False,
    cpu_batch: int = CPU_BATCH,
) -> Model:
    """A model that runs a graph.

    Args:
        graph: the file that was written.
        plan: how it runs on a GPU.
        trial: what the engines of a CPU are tried with; none where the graph stays with ONNX Runtime's own.
        one_shape: whether the input has one shape or a few, rather than many.
        half: whether it computes in float16.
        urgent: whether somebody waits for the answer, so that it goes before others.
        cpu_batch: items that Triton gathers for one run on a CPU.
    """
    model = Model(name, comment, inputs, outputs, backend="onnxruntime", half=half, urgent=urgent)
    if settings.device is Device.GPU:
        return replace(
            model,
            max_batch_size=plan.most,
            kind="KIND_GPU",
            instances=settings.gpu_instances,
            parameters=gpu.parameters(plan, graph, settings),
        )
    if settings.device is Device.INTEL:
        return replace(
            model, max_batch_size=plan.most, parameters=gpu.shapes(plan), engine=_graphics(half=half)
        )
    threads = {
        "intra_op_thread_count": settings.intra_op_threads,
        "inter_op_thread_count": settings.inter_op_threads,
    }
    parameters = {key: str(count) for key, count in threads.items() if count}
    if not one_shape:
        parameters |= SHAPES_VARY
    model = replace(model, max_batch_size=cpu_batch, parameters=parameters)
    engine = choose(graph, model, trial, settings) if trial else None
    if engine and engine.name:
        put_weights_beside(graph)
    return replace(model, engine=engine)


def _graphics(*, half: bool) -> Engine:
    precision = {"precision": "f16"} if half else {}
    return Engine(engines.OPENVINO, {**engines.GRAPHICS, **precision}, "as IMMICH_TRITON_DEVICE=intel says")


def generated(models: Sequence[Model], settings: PreparationSettings, *graphs: Rewritten) -> Generated:
    """A part that is batched if its graphs are. The public ensemble takes what each of its steps takes."""
    models = [_with_hands(model, settings.step_processes) for model in models]
    reasons = tuple(f"not batched: {graph.why_not}" for graph in graphs if not graph.batchable)
    if reasons:
        models = [without_batching(model) for model in models]
    limit = min(model.max_batch_size for model in models)
    notes = [note for graph in graphs for note in graph.notes]
    notes += [model.engine.why for model in models if model.engine]
    return Generated([*models[:-1], replace(models[-1], max_batch_size=limit)], (*reasons, *notes))


def _with_hands(model: Model, processes: int) -> Model:
    """Several processes take one request each, so that none waits for the slowest of a batch."""
    if model.backend not in STEP_BACKENDS or processes < 2:
        return model
    return replace(model, instances=processes, gathers=False)
