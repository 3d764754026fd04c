"""Triton's config.pbtxt as data and as text: everything written out, one tensor a line, the flow as a comment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Tensor:
    """An input or output. `dims` are without the batch axis where the model batches; -1 is variable."""

    name: str
    type: str  # Triton's, without TYPE_: FP32, INT32, UINT8, STRING
    dims: tuple[int, ...]
    axes: str = ""  # what the axes are, for the reader
    ragged: bool = False  # an input whose variable dims may differ within a batch
    whole: bool = False  # dims are all there is: no batch axis is to be put before them


@dataclass(frozen=True)
class Step:
    """One step of an ensemble. The maps go from the step's tensor to the ensemble's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Engine:
    """What computes a graph on a processor or on Intel graphics.

    Attributes:
        name: of Triton's accelerator; empty for ONNX Runtime's own provider.
        parameters: of the accelerator.
        why: it was chosen, for the reader.
        ratio: how many times as fast as ONNX Runtime's own provider it is; None where that was not measured.
        times_ms: by what was run: of ONNX Runtime's own provider, and of this engine or of the best other one.
    """

    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    ratio: float | None = None
    times_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name or "onnxruntime", self.parameters.get("precision"))))


@dataclass(frozen=True)
class Model:
    """A folder of the model repository.

    Either `backend` (with its parameters) or `steps` (an ensemble) is given. `kind` is where its instances run: on a
    GPU, on the first that Triton sees. `gathers` says that requests which wait are handed on together, `half` that the
    graph computes in float16, `urgent` that the model goes before others on a CPU, `engine` what computes a graph.
    """

    name: str
    comment: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    max_batch_size: int = 8
    backend: str = ""
    kind: str = "KIND_CPU"
    instances: int = 1
    gathers: bool = True
    half: bool = False
    urgent: bool = False
    engine: Engine | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()


def without_batching(model: Model) -> Model:
    """The same model for one item at a time: its batch axis is an ordinary one, of 1."""
    inputs, outputs = (
        [tensor if tensor.whole else replace(tensor, dims=(1, *tensor.dims)) for tensor in tensors]
        for tensors in (model.inputs, model.outputs)
    )
    return replace(model, inputs=inputs, outputs=outputs, max_batch_size=0)


def render(model: Model) -> str:
    """The text of the model's config.pbtxt."""
    blocks = [
        "".join(f"# {line}\n" for line in model.comment.splitlines()).rstrip("\n"),
        f'name: "{model.name}"',
        f'backend: "{model.backend}"' if model.backend else 'platform: "ensemble"',
        f"max_batch_size: {model.max_batch_size}",
        _list("input", [_tensor(tensor, ragged=tensor.ragged) for tensor in model.inputs]),
        _list("output", [_tensor(tensor) for tensor in model.outputs]),
        *(_schedule(model) if model.backend else [_ensemble(model.steps)]),
    ]
    return "\n".join(blocks) + "\n"


def _schedule(model: Model) -> list[str]:
    batching = ["dynamic_batching { }"] if model.max_batch_size > 0 and model.gathers else []
    gpus = ", gpus: [ 0 ]" if model.kind == "KIND_GPU" else ""
    instances = f"instance_group [ {{ kind: {model.kind}, count: {model.instances}{gpus} }} ]"
    parameters = [
        f'parameters {{ key: "{key}", value: {{ string_value: {_quoted(value)} }} }}'
        for key, value in model.parameters.items()
    ]
    return [*batching, instances, *_optimization(model), *parameters]


def _optimization(model: Model) -> list[str]:
    """What the backend shall do to the graph, and how soon.

    A graph in float16 is optimised as it was when it was measured: not up to layouts for CPUs, where the runtime
    crashes on some (microsoft/onnxruntime, issue 28392). Triton runs the threads of a model at nice level 5, and at 0
    with `PRIORITY_MAX`.
    """
    parts = [
        *(["graph { level: 1 }"] if model.half else []),
        *(["priority: PRIORITY_MAX"] if model.urgent else []),
        *(_accelerators(model.engine) if model.engine else []),
    ]
    return ["optimization {\n" + "\n".join(map(_indent, parts)) + "\n}"] if parts else []


def _accelerators(engine: Engine) -> list[str]:
    times = (f"{name}: {ms:.3g} instead of {own_ms:.3g} ms" for name, (own_ms, ms) in engine.times_ms.items())
    why = [f"# {line}" for line in filter(None, (engine.why, *times))]
    if not engine.name:
        return why
    parameters = "".join(
        f', parameters {{ key: "{key}", value: "{value}" }}' for key, value in engine.parameters.items()
    )
    named = (
        f'execution_accelerators {{ cpu_execution_accelerator: [ {{ name: "{engine.name}"{parameters} }} ] }}'
    )
    return [*why, named]


def _ensemble(steps: Sequence[Step]) -> str:
    return "ensemble_scheduling {\n" + "\n".join(_indent(_step(step)) for step in steps) + "\n}"


def _step(step: Step) -> str:
    lines = [f'model_name: "{step.model}"', "model_version: -1"]
    lines += [f'input_map {{ key: "{key}", value: "{value}" }}' for key, value in step.inputs.items()]
    lines += [f'output_map {{ key: "{key}", value: "{value}" }}' for key, value in step.outputs.items()]
    return "step {\n" + "\n".join(map(_indent, lines)) + "\n}"


def _list(name: str, items: Sequence[tuple[str, str]]) -> str:
    lines = [
        text + ("," if index < len(items) - 1 else "") + (f"  # {comment}" if comment else "")
        for index, (text, comment) in enumerate(items)
    ]
    return f"{name} [\n" + "\n".join(map(_indent, lines)) + "\n]"


def _tensor(tensor: Tensor, *, ragged: bool = False) -> tuple[str, str]:
    """The tensor's line, and what is to be said behind it. Only inputs can be ragged."""
    fields = [f'name: "{tensor.name}"', f"data_type: TYPE_{tensor.type}"]
    fields.append(f"dims: [ {', '.join(map(str, tensor.dims))} ]")
    if ragged:
        fields.append("allow_ragged_batch: true")
    return f"{{ {', '.join(fields)} }}", tensor.axes


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
