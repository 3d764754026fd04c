"""config.pbtxt as Triton reads it: parsed strictly, and what is wrong with it by Triton's rules and ours."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from google.protobuf import json_format, text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2

from adapter.preparation.config import Model, render

Config = Any  # model_config_pb2.ModelConfig
Tensor = tuple[str, tuple[int, ...]]  # data type; dims with the batch axis, -1 where it varies

BACKENDS = Path(__file__).resolve().parents[2] / "backends"
ONNX_TYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
}


def parse(text: str) -> Config:
    """A config as a protobuf message; an unknown field or value raises."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def as_triton_hands_it_on(config: Config) -> str:
    """What a Python model gets as `args["model_config"]`."""
    whole = json_format.MessageToDict(
        config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for tensor in (*whole["input"], *whole["output"]):
        tensor["dims"] = [
            int(size) for size in tensor["dims"]
        ]  # protobuf writes 64 bits as strings, Triton does not
    return json.dumps(whole)


def read_repository(folder: Path) -> dict[str, str]:
    """The text of every config in a model repository, by folder."""
    return {path.parent.name: path.read_text() for path in sorted(folder.glob("*/config.pbtxt"))}


def rendered(*models: Model) -> dict[str, str]:
    return {model.name: render(model) for model in models}


def faults(repository: Mapping[str, str]) -> list[str]:
    """What is wrong with the configs of a repository (folder → text): nothing, if all is well."""
    configs = {folder: parse(text) for folder, text in repository.items()}
    return [
        f"{folder}: {fault}"
        for folder, config in configs.items()
        for fault in (
            *_omissions(config, repository[folder]),
            *([] if config.name == folder else [f"is called {config.name}"]),
            *(
                _wiring_faults(config, configs)
                if config.platform
                else _backend_faults(config, repository[folder])
            ),
        )
    ]


def _omissions(config: Config, text: str) -> Iterator[str]:
    """Nothing is left to Triton's auto-completion, which is off."""
    if not re.search(r"^max_batch_size: \d+$", text, re.MULTILINE):
        yield "max_batch_size is not written out"
    for kind, tensors in (("input", config.input), ("output", config.output)):
        if not tensors:
            yield f"there is no {kind}"
        for tensor in tensors:
            if not (tensor.name and tensor.data_type and tensor.dims):
                yield f"an {kind} lacks its name, type or dims: {tensor}"
            if 0 in tensor.dims or min(tensor.dims, default=0) < -1:
                yield f"{tensor.name} has dims {list(tensor.dims)}"


def _backend_faults(config: Config, text: str) -> Iterator[str]:
    if not (BACKENDS / config.backend / "model.py").is_file() or not config.backend:
        yield f"there is no backend {config.backend!r}"
    if not re.search(r"^instance_group \[ { kind: KIND_\w+, count: [1-9]", text, re.MULTILINE):
        yield "instance_group is not written out"
    hands = [group.count for group in config.instance_group if config.backend != "onnxruntime"]
    if config.HasField("dynamic_batching") != (config.max_batch_size > 0 and max(hands, default=1) == 1):
        yield "dynamic_batching does not go with max_batch_size"


def _wiring_faults(ensemble: Config, configs: Mapping[str, Config]) -> Iterator[str]:
    """Along every arrow types and shapes agree, and none begins or ends in nothing."""
    if ensemble.platform != "ensemble" or not ensemble.ensemble_scheduling.step:
        yield "it is no ensemble"
    made = _tensors(ensemble, ensemble.input)
    taken: set[str] = set()
    for step in ensemble.ensemble_scheduling.step:
        model = configs.get(step.model_name)
        if model is None:
            yield f"there is no model {step.model_name}"
            continue
        if ensemble.max_batch_size > model.max_batch_size > 0:
            yield f"it takes larger batches than {step.model_name}"
        inputs, outputs = _tensors(model, model.input), _tensors(model, model.output)
        if inputs.keys() != set(step.input_map):
            yield f"{step.model_name} takes {sorted(inputs)}, but is given {sorted(step.input_map)}"
        for inner, outer in step.input_map.items():
            taken.add(outer)
            if made.get(outer) != inputs.get(inner):
                yield f"{outer} is {made.get(outer)}, but {step.model_name} takes {inputs.get(inner)}"
        for inner, outer in step.output_map.items():
            if inner not in outputs:
                yield f"{step.model_name} has no output {inner}"
            elif outer in made:
                yield f"{outer} is made twice"
            made[outer] = outputs.get(inner, ("", ()))
    public = _tensors(ensemble, ensemble.output)
    for name, tensor in public.items():
        if made.get(name) != tensor:
            yield f"the output {name} is {tensor}, but what is made is {made.get(name)}"
    if unused := made.keys() - taken - public.keys():
        yield f"nobody takes {sorted(unused)}"


def _tensors(config: Config, tensors: Any) -> dict[str, Tensor]:
    """The shapes as they arrive in numpy."""
    batch = (-1,) if config.max_batch_size > 0 else ()
    return {
        tensor.name: (model_config_pb2.DataType.Name(tensor.data_type), (*batch, *tensor.dims))
        for tensor in tensors
    }


def graph_faults(graph: Path) -> list[str]:
    """What does not agree between a graph and its config."""
    config = parse((graph.parent.parent / "config.pbtxt").read_text())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    said = {**_tensors(config, config.input), **_tensors(config, config.output)}
    found = {
        value.name: (
            ONNX_TYPES[value.type],
            tuple(size if isinstance(size, int) else -1 for size in value.shape),
        )
        for value in (*session.get_inputs(), *session.get_outputs())
    }
    free = {
        value.name for value in session.get_inputs()
    }  # a config may fix a size that the graph leaves open
    return [
        f"{config.name}: {name} is {found.get(name)} in the graph, {said.get(name)} in the config"
        for name in said.keys() | found.keys()
        if not _agree(said.get(name), found.get(name), may_fix=name in free)
    ]


def _agree(said: Tensor | None, found: Tensor | None, *, may_fix: bool) -> bool:
    if said is None or found is None or said[0] != found[0] or len(said[1]) != len(found[1]):
        return False
    batch, *_ = zip(said[1], found[1], strict=True)
    return batch[0] == batch[1] and all(
        own == size or (may_fix and size == -1) for own, size in zip(said[1], found[1], strict=True)
    )
