"""What a graph's config says where it runs on a GPU: in which shapes, how exactly, and within how much memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter.preparation.graphs.file import read
from adapter.setting_types import Precision
from adapter.settings import GPU_MEMORY_MIB, PreparationSettings

FEW_CONVOLUTIONS = 4
"""A transformer has one, which cuts the picture into patches."""

MOST_FOR_SESSIONS = 15
"""Percent of the limit that one graph's weights may take, for all its sessions together."""


@dataclass(frozen=True)
class Plan:
    """How a graph runs on a GPU.

    Attributes:
        most: items that Triton gathers.
        sizes: the numbers of items that a run is filled up to, each with a session of its own: for graphs with
            convolutions, which keep the plan of one shape only. None: one session takes any number.
        shapes: what the -1 of its inputs' dims are, each with sessions of its own; none where there is no -1.
        working_mib: memory for what lies between its layers, of the setting's default.
        tf32: whether its products are rounded to 10 bits, where the setting does not say so of all.
        search: how cuDNN finds its algorithm for each convolution; `EXHAUSTIVE` tries them all when a shape is warmed.
    """

    most: int
    working_mib: int
    sizes: Sequence[int] = ()
    shapes: Sequence[Sequence[int]] = ()
    tf32: bool = False
    search: str = "HEURISTIC"


def is_convolutional(graph: Path) -> bool:
    """Whether a graph needs a session for each shape."""
    return [node.op_type for node in read(graph).graph.node].count("Conv") > FEW_CONVOLUTIONS


def parameters(plan: Plan, graph: Path, settings: PreparationSettings) -> Mapping[str, str]:
    """The parameters of `backends/onnxruntime` for a graph in a file."""
    sessions = len(plan.sizes) * max(1, len(plan.shapes)) or 1
    weights_mib = _size_mib(graph)
    # The least used session makes room where not every shape can have one.
    held_mib = max(
        weights_mib, min(weights_mib * sessions, settings.gpu_memory_mib * MOST_FOR_SESSIONS // 100)
    )
    working_mib = plan.working_mib * settings.gpu_memory_mib // GPU_MEMORY_MIB
    exact = settings.precision is not Precision.TF32 and not plan.tf32
    found = {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": plan.search,
        "cudnn_conv_use_max_workspace": "0",
        "enable_mem_pattern": "0",
        "use_tf32": "0" if exact else "1",
        "gpu_memory_mib": str(held_mib + working_mib),
        "gpu_memory_limit_mib": str(settings.gpu_memory_mib),
    }
    return {**found, **shapes(plan)}


def shapes(plan: Plan) -> Mapping[str, str]:
    """The parameters of `backends/onnxruntime` that say in which shapes a graph runs."""
    found = {
        "batch_sizes": ",".join(map(str, plan.sizes)),
        "warm": " ".join("x".join(map(str, shape)) for shape in plan.shapes),
    }
    return {key: value for key, value in found.items() if value}


def _size_mib(graph: Path) -> int:
    """Of its weights, which may lie beside it."""
    return -(-sum(path.stat().st_size for path in graph.parent.iterdir()) // 2**20)
