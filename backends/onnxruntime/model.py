"""Runs `model.onnx` with the `onnxruntime` package, by the engine that the config asks for.

The config and the graph are made for each other, and proven, by `adapter/preparation`.
"""

import ctypes
import json
from pathlib import Path

import triton_python_backend_utils as pb_utils

from backends.onnxruntime import batches, engines, memory
from backends.onnxruntime.graph import Graph
from backends.onnxruntime.lanes import open_lanes
from backends.onnxruntime.options import giving_back, read_parameters, take_priority
from backends.onnxruntime.plans import OutOfMemory, Plans


class TritonPythonModel:
    def initialize(self, args):
        self._config = json.loads(args["model_config"])
        gpu = args["model_instance_kind"] == "GPU"
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        take_priority(self._config)
        self._inputs = [tensor["name"] for tensor in self._config["input"]]
        self._outputs = [tensor["name"] for tensor in self._config["output"]]
        self._batched = self._config["max_batch_size"] > 0
        try:
            engine = engines.read(self._config, int(args["model_instance_device_id"]) if gpu else None)
            sizes = [
                int(size) for size in read_parameters(self._config).get("batch_sizes", "").split(",") if size
            ]
            if gpu or sizes:
                self._runner = self._plans(Graph(path, self._config, engine), sizes)
            else:
                self._runner = open_lanes(path, self._config, engine)
        except (memory.TooLittle, engines.Missing) as error:
            raise pb_utils.TritonModelException(str(error)) from error
        _give_back_memory()

    def execute(self, requests):
        if self._batched:
            return self._run_batch(requests)
        return [response for request in requests for response in self._run_batch([request])]

    def finalize(self):
        memory.release()

    def _run_batch(self, requests):
        feeds = [{name: _read(request, name) for name in self._inputs} for request in requests]
        try:
            outputs = self._run(feeds)
        except Exception as error:  # an exception out of `execute` would end the stub
            if len(requests) > 1:  # one of them is the cause: the others are not to suffer for it
                return [response for request in requests for response in self._run_batch([request])]
            failure = pb_utils.TritonError(_explain(error), pb_utils.TritonError.INTERNAL)
            return [pb_utils.InferenceResponse(error=failure)]
        return [self._response(arrays) for arrays in outputs]

    def _run(self, feeds):
        """The outputs of each feed. Those with items of one shape are run as one batch."""
        if len(feeds) == 1:
            return self._runner.run(feeds)
        groups = batches.group(feeds)
        answers = self._runner.run([batches.join([feeds[number] for number in group]) for group in groups])
        outputs = {}
        for group, answer in zip(groups, answers, strict=True):
            counts = [batches.rows(feeds[number]) for number in group]
            outputs |= zip(group, batches.give_back(answer, counts), strict=True)
        return [outputs[number] for number in range(len(feeds))]

    def _response(self, arrays):
        named = zip(self._outputs, arrays, strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in named])

    def _plans(self, graph, sizes):
        most_rows = self._config["max_batch_size"]
        if sizes:
            graph.read_axes()
        open_session = graph.open_for if sizes else lambda _: graph.open()
        plans = Plans(open_session, self._outputs, sizes, most_rows, giving_back(graph.engine.arena))
        row_counts = sizes or sorted({1, most_rows})
        feeds = graph.warm_feeds(row_counts if self._batched else [])
        try:
            count = plans.warm(feeds)
        except Exception as error:
            raise pb_utils.TritonModelException(_explain(error)) from error
        pb_utils.Logger.log_info(f"{self._config['name']}: {count} of {len(feeds)} shapes are warm")
        return plans


def _explain(error):
    if isinstance(error, OutOfMemory):
        return f"the GPU's memory is full: raise IMMICH_TRITON_GPU_MEMORY_MIB, or end what else runs there. {error}"
    return f"onnx runtime error: {error}"


def _give_back_memory():
    """Loading parses the file and lays the weights out anew: the C library keeps as much as they take, for nothing."""
    ctypes.CDLL(None).malloc_trim(0)


def _read(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
