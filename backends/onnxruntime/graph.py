"""A graph's file, as sessions on a CPU or an NVIDIA GPU, and the feeds that it is warmed with."""

import os

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from backends.onnxruntime import memory
from backends.onnxruntime.options import CPU, CUDA, cuda_options, read_parameters, session_options

_BYTES_PER_MIB = 2**20
_SMALL_WORKSPACE = ":16:8"
"""Eight times 16 KiB for cuBLAS. With its own choice a session of a few convolutions takes 150 MiB, so 26."""
_AS_REQUESTED = 1


class Graph:
    """Opens sessions of a graph.

    Args:
        path: of the file.
        config: of the model, as Triton hands it on.
        device_id: of the GPU; None for the CPU.
    """

    def __init__(self, path, config, device_id):
        self._path, self._config, self._device_id = path, config, device_id
        self._parameters = read_parameters(config)
        memory_mib = int(self._parameters.get("gpu_memory_mib", 0))
        self._limit_bytes = memory_mib * _BYTES_PER_MIB
        if device_id is not None:
            if "batch_sizes" in self._parameters:  # then there will be many sessions
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _SMALL_WORKSPACE)
            ort.preload_dlls(msvc=False)
            if memory_mib:
                memory.claim(memory_mib, int(self._parameters["gpu_memory_limit_mib"]))
                self._share_arena()

    @property
    def device(self):
        """As ONNX Runtime calls it in the options of a run."""
        return "cpu:0" if self._device_id is None else f"gpu:{self._device_id}"

    def open(self):
        """A session that takes every shape."""
        return self._open(session_options(self._config, self._device_id is not None))

    def open_for(self, feed):
        """A session for the shapes of this feed alone: those within the graph are worked out ahead."""
        options = session_options(self._config, self._device_id is not None)
        for symbol, value in self._free_dimensions(feed).items():
            options.add_free_dimension_override_by_name(symbol, value)
        return self._open(options)

    def read_axes(self):
        """Learns the names of the axes that the graph leaves open, for `open_for`."""
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(self._path, options, providers=[CPU])
        self._axes = {tensor.name: tensor.shape for tensor in session.get_inputs()}

    def warm_feeds(self, row_counts):
        """Feeds of zeros, of every shape that the config names.

        Its parameter `warm` says what the -1 of `dims` are: sets such as `736x992`, apart by spaces.

        Args:
            row_counts: of the first axis; none where `dims` are all there is.
        """
        sets = [[int(size) for size in part.split("x")] for part in self._parameters.get("warm", "").split()]
        if any(-1 in _dims(tensor) for tensor in self._config["input"]) and not sets:
            return []
        return [self._zeros(rows, sizes) for rows in (row_counts or [None]) for sizes in (sets or [[]])]

    def _open(self, options):
        if self._device_id is None:
            return ort.InferenceSession(self._path, options, providers=[CPU])
        if self._limit_bytes:
            options.add_session_config_entry("session.use_env_allocators", "1")
        cuda = (CUDA, cuda_options(self._parameters, self._device_id, self._limit_bytes))
        session = ort.InferenceSession(self._path, options, providers=[cuda])
        session.disable_fallback()  # which would go on with the CPU, and say nothing
        if session.get_providers()[0] != CUDA:
            raise RuntimeError("ONNX Runtime cannot use the GPU; `immich-triton doctor` says what is missing")
        return session

    def _share_arena(self):
        """All sessions of this process have one arena with one limit: what one has freed, the next can have."""
        where = ort.OrtMemoryInfo(
            "Cuda", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, self._device_id, ort.OrtMemType.DEFAULT
        )
        arena = ort.OrtArenaCfg({"max_mem": self._limit_bytes, "arena_extend_strategy": _AS_REQUESTED})
        options = cuda_options(self._parameters, self._device_id, self._limit_bytes)
        ort.create_and_register_allocator_v2(CUDA, where, options, arena)

    def _free_dimensions(self, feed):
        """Name → size of each axis that is open in the graph, and that has one size in this feed."""
        found = [
            (name, size)
            for tensor, array in feed.items()
            for name, size in zip(self._axes[tensor], array.shape, strict=True)
            if isinstance(name, str)
        ]
        return {name: size for name, size in found if {s for n, s in found if n == name} == {size}}

    def _zeros(self, rows, sizes):
        feed = {}
        for tensor in self._config["input"]:
            filling = iter(sizes)
            shape = [next(filling) if size == -1 else size for size in _dims(tensor)]
            kind = pb_utils.triton_string_to_numpy(tensor["data_type"])
            feed[tensor["name"]] = np.zeros(shape if rows is None else [rows, *shape], kind)
        return feed


def _dims(tensor):
    return [int(size) for size in tensor["dims"]]
