"""Runs `model.onnx` with the `onnxruntime` package: the stand-in for the container's C++ backend of this name.

It takes the same config.pbtxt fields, so that one model repository runs on both. What it cannot do, it refuses
when the model is loaded.
"""

import ctypes
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

_LEVELS = {
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel:
    def initialize(self, args):
        self._config = json.loads(args["model_config"])
        _refuse_what_needs_a_gpu(self._config, args["model_instance_kind"])
        name = self._config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / name
        if not path.exists():
            raise pb_utils.TritonModelException(f"{path} does not exist")
        self._run_options = _run_options(self._config)
        self._session = ort.InferenceSession(
            path, session_options(self._config), providers=["CPUExecutionProvider"]
        )
        _give_back_memory()
        self._inputs = [tensor["name"] for tensor in self._config["input"]]
        self._outputs = [tensor["name"] for tensor in self._config["output"]]
        self._batched = self._config["max_batch_size"] > 0
        self._pool = ThreadPoolExecutor(_cores()) if _runs_items_apart(self._config) else None
        self._check_graph()

    def execute(self, requests):
        if self._batched:
            return self._run_batch(requests)
        return [response for request in requests for response in self._run_batch([request])]

    def _run_batch(self, requests):
        feeds = [{name: _read(request, name) for name in self._inputs} for request in requests]
        try:
            merged = {name: _join([feed[name] for feed in feeds]) for name in self._inputs}
            outputs = self._run(merged)
        except Exception as error:  # an exception out of `execute` would end the stub
            if len(requests) > 1:  # one of them is the cause: the others are not to suffer for it
                return [response for request in requests for response in self._run_batch([request])]
            failure = pb_utils.TritonError(f"onnx runtime error: {error}", pb_utils.TritonError.INTERNAL)
            return [pb_utils.InferenceResponse(error=failure)]
        if len(requests) == 1:
            return [self._response(outputs)]
        ends = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
        shares = zip(*(np.split(output, ends) for output in outputs), strict=True)
        return [self._response(share) for share in shares]

    def _run(self, feed):
        if self._pool is None:
            return self._session.run(self._outputs, feed, self._run_options)
        count = len(feed[self._inputs[0]])
        items = [{name: array[index : index + 1] for name, array in feed.items()} for index in range(count)]
        answers = self._pool.map(
            lambda item: self._session.run(self._outputs, item, self._run_options), items
        )
        return [np.concatenate(column) for column in zip(*answers, strict=True)]

    def _response(self, arrays):
        named = zip(self._outputs, arrays, strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in named])

    def _check_graph(self):
        tensors = {
            tensor.name: tensor for tensor in (*self._session.get_inputs(), *self._session.get_outputs())
        }
        if missing := {*self._inputs, *self._outputs} - tensors.keys():
            raise pb_utils.TritonModelException(
                f"the graph has no tensor {sorted(missing)}; it has {sorted(tensors)}"
            )
        fixed = [name for name in self._inputs if isinstance(tensors[name].shape[0], int)]
        if self._batched and fixed:
            raise pb_utils.TritonModelException(
                f"max_batch_size is over 0, but the batch dimension of input {fixed} is fixed in the graph"
            )


def session_options(config):
    """The fields of config.pbtxt that the C++ backend reads, as options of a session.

    Source: triton-inference-server/onnxruntime_backend, README, "Model Config Options".
    """
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0)) or _share_of_cores(config)
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    if parameters.get("execution_mode", "0") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = parameters.get("enable_mem_arena", "1") != "0"
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") != "0"
    # Several models share the cores: a thread that spins while it waits takes them from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _share_of_cores(config):
    """Threads of one run: one where items are run side by side, else what falls to one of several instances.

    A single instance has 0, which is one a core.
    """
    instances = sum(group["count"] for group in config.get("instance_group", []))
    if _runs_items_apart(config):
        return 1
    return max(1, _cores() // instances) if instances > 1 else 0


def _runs_items_apart(config):
    """A parameter of ours, which the C++ backend does not read."""
    return config.get("parameters", {}).get("items", {}).get("string_value") == "apart"


def _cores():
    return len(os.sched_getaffinity(0))


def _run_options(config):
    options = ort.RunOptions()
    shrink = config.get("parameters", {}).get("memory.enable_memory_arena_shrinkage")
    if shrink and "cpu" in shrink["string_value"]:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _give_back_memory():
    """Loading parses the file and lays the weights out anew: the C library keeps as much as they take, for nothing."""
    ctypes.CDLL(None).malloc_trim(0)


def _refuse_what_needs_a_gpu(config, kind):
    if kind not in ("CPU", "AUTO"):
        raise pb_utils.TritonModelException(
            f"instance kind {kind} needs the container's C++ ONNX Runtime backend; here are KIND_CPU and KIND_AUTO"
        )
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    names = [
        entry["name"]
        for side in ("gpu_execution_accelerator", "cpu_execution_accelerator")
        for entry in accelerators.get(side, [])
    ]
    if names:
        raise pb_utils.TritonModelException(
            f"execution accelerators {names} need the container's C++ ONNX Runtime backend"
        )


def _read(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def _join(arrays):
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
