"""Runs `model.onnx` with the `onnxruntime` package: the stand-in for the container's C++ backend of this name.

It takes the same config.pbtxt fields, so that one model repository runs on both. What it cannot do, it refuses
when the model is loaded.
"""

import ctypes
import json
import os
from concurrent.futures import Future, wait
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

_NICE = {"PRIORITY_MAX": 0, "PRIORITY_DEFAULT": 5, "PRIORITY_MIN": 19}
_SHRINKAGE = "memory.enable_memory_arena_shrinkage"
_LARGE_INPUT_BYTES = 4 * 2**20
_CPUS = Path("/sys/devices/system/cpu")


class TritonPythonModel:
    def initialize(self, args):
        self._config = json.loads(args["model_config"])
        _refuse_what_needs_a_gpu(self._config, args["model_instance_kind"])
        name = self._config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / name
        if not path.exists():
            raise pb_utils.TritonModelException(f"{path} does not exist")
        _take_priority(self._config)
        options = session_options(self._config)
        self._lanes = options.intra_op_num_threads if _may_be_split(self._config) else 1
        self._shrinks = "cpu" in _parameters(self._config).get(_SHRINKAGE, "")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        _give_back_memory()
        self._inputs = [tensor["name"] for tensor in self._config["input"]]
        self._outputs = [tensor["name"] for tensor in self._config["output"]]
        self._batched = self._config["max_batch_size"] > 0
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
        """The outputs of a feed, which is run in shares side by side, where it has several items.

        Each share keeps one of the session's threads busy. So nothing waits for a thread that has lost its core to
        another model, as it does where all threads share each operator; and a single item still gets every thread.
        """
        options = self._run_options(feed)
        first, *others = self._shares(feed)
        started = [self._start(share, options) for share in others]
        try:
            answers = [self._session.run(self._outputs, first, options)]
        finally:
            wait(started)
        answers += [future.result() for future in started]
        return [_join(column) for column in zip(*answers, strict=True)]

    def _shares(self, feed):
        lanes = min(self._lanes, len(feed[self._inputs[0]]))
        if lanes < 2:
            return [feed]
        columns = zip(*(np.array_split(array, lanes) for array in feed.values()), strict=True)
        return [dict(zip(feed, column, strict=True)) for column in columns]

    def _start(self, feed, options):
        """Runs on one of the threads of the session, which otherwise help the one that calls `run`."""
        future = Future()
        self._session.run_async(self._outputs, feed, _settle, future, options)
        return future

    def _run_options(self, feed):
        """Has the memory of an unusually large run given back: to do so after each run costs a seventh of its time."""
        if not self._shrinks or sum(array.nbytes for array in feed.values()) <= _LARGE_INPUT_BYTES:
            return None
        options = ort.RunOptions()
        options.add_run_config_entry(_SHRINKAGE, "cpu:0")
        return options

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
    parameters = _parameters(config)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0)) or _cores()
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    if parameters.get("execution_mode", "0") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = parameters.get("enable_mem_arena", "1") != "0"
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") != "0"
    # Several models share the cores: a thread that spins while it waits takes them from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _take_priority(config):
    """Lets the kernel run models in the order of their priorities, at the levels that Triton gives to its own threads.

    Must be called before a session starts its threads, which inherit the level.

    Source: triton-inference-server/core, `GetCpuNiceLevel`.
    """
    level = _NICE[config.get("optimization", {}).get("priority", "PRIORITY_DEFAULT")]
    servers = os.getpriority(os.PRIO_PROCESS, os.getppid())
    os.nice(max(0, servers + level - os.nice(0)))  # only root may lower it


def _parameters(config):
    return {key: value["string_value"] for key, value in config.get("parameters", {}).items()}


def _may_be_split(config):
    """Whether the first axis holds items that do not influence each other.

    `items` is a parameter of ours, for models that Triton must not batch; the C++ backend does not read it.
    """
    return config["max_batch_size"] > 0 or _parameters(config).get("items") == "apart"


def _cores():
    """How many cores this process may use; two threads of one core count once, for they share its arithmetic units.

    It is said to ONNX Runtime, whose own default is to bind threads to cores, the same ones for every model.
    """
    allowed = os.sched_getaffinity(0)
    try:
        siblings = {(_CPUS / f"cpu{number}/topology/thread_siblings_list").read_text() for number in allowed}
    except OSError:
        return len(allowed)
    return len(siblings)


def _settle(outputs, future, error):
    """Called by `run_async` when it is done. `error` is empty, or what went wrong."""
    if error:
        future.set_exception(RuntimeError(error))
    else:
        future.set_result(outputs)


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
