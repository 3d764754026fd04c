"""What computes a graph: ONNX Runtime's own provider for processors, OpenVINO as its plug-in, or CUDA.

Triton's config says which: the kind of the instance asks for CUDA, `execution_accelerators` for OpenVINO. An engine
that cannot be had is refused: nothing goes on with another one, and says nothing.
"""

import json
import os

import onnxruntime as ort

from backends.onnxruntime import memory
from backends.onnxruntime.options import CPU, CUDA, cuda_options, read_parameters

OPENVINO = "openvino"
PACKAGE = "onnxruntime-ep-openvino"
BF16 = "bf16"
GRAPHICS = {"device": "GPU", "precision": "f32"}
"""What Intel graphics are asked for."""
_KEPT_SHAPES = "256"
"""Of what OpenVINO keeps for each shape that it has seen. By default it keeps 5,000: after 300 widths of lines its
process had 773 MB, with this 277 MB (docs/performance.md)."""

_BYTES_PER_MIB = 2**20
_SMALL_WORKSPACE = ":16:8"
"""Eight times 16 KiB for cuBLAS. With its own choice a session of a few convolutions takes 150 MiB, so 26."""
_AS_REQUESTED = 1


class Missing(Exception):
    """The engine cannot be had here; the message says why."""


class Own:
    """ONNX Runtime's provider for processors."""

    arena = "cpu:0"
    shares = True
    """Whether a batch is run in shares side by side, rather than at once by all threads."""

    def open(self, path, options):
        return ort.InferenceSession(path, options, providers=[CPU])


class OpenVino:
    """OpenVINO, on a processor or on Intel graphics.

    Its threads are not bound to cores: by default each process would bind one to the same core. It computes in less
    precision than the graph's where it likes to, unless it is told.

    Args:
        parameters: `device` (CPU or GPU) and `precision` (f32, f16 or bf16).

    Raises:
        Missing: the plug-in is not installed, cannot be loaded, or finds no such device.
    """

    arena = "cpu:0"
    shares = False

    def __init__(self, parameters):
        self._kind, self._precision = parameters.get("device", "CPU"), parameters.get("precision", "f32")
        self._device = _find_openvino(self._kind)
        if self._precision == BF16 and "BF16" not in self._device.ep_metadata["OPTIMIZATION_CAPABILITIES"]:
            raise Missing("it is prepared for bf16, which this processor does not have")

    def open(self, path, options):
        chosen = {"INFERENCE_PRECISION_HINT": self._precision}
        if self._kind == "CPU":
            chosen |= {
                "INFERENCE_NUM_THREADS": str(options.intra_op_num_threads),
                "NUM_STREAMS": "1",
                "ENABLE_CPU_PINNING": "NO",
                "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_SHAPES,
            }
        options.intra_op_num_threads = 1
        options.add_provider_for_devices([self._device], {"load_config": json.dumps({self._kind: chosen})})
        return ort.InferenceSession(path, options)


class Cuda:
    """CUDA, on an NVIDIA GPU.

    Args:
        parameters: of the model's config.
        device_id: of the GPU.

    Raises:
        Missing: ONNX Runtime finds no CUDA.
        memory.TooLittle: other models leave too little of the GPU's memory.
    """

    shares = False

    def __init__(self, parameters, device_id):
        memory_mib = int(parameters.get("gpu_memory_mib", 0))
        self.arena = f"gpu:{device_id}"
        self._device_id, self._limit_bytes = device_id, memory_mib * _BYTES_PER_MIB
        self._options = cuda_options(parameters, device_id, self._limit_bytes)
        self._threads = int(parameters.get("intra_op_thread_count", 1))
        if "batch_sizes" in parameters:  # then there will be many sessions
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _SMALL_WORKSPACE)
        ort.preload_dlls(msvc=False)
        if memory_mib:
            memory.claim(memory_mib, int(parameters["gpu_memory_limit_mib"]))
            self._share_arena()

    def open(self, path, options):
        options.intra_op_num_threads = self._threads  # they only feed the GPU
        if self._limit_bytes:
            options.add_session_config_entry("session.use_env_allocators", "1")
        session = ort.InferenceSession(path, options, providers=[(CUDA, self._options)])
        session.disable_fallback()  # which would go on with the CPU, and say nothing
        if session.get_providers()[0] != CUDA:
            raise Missing("ONNX Runtime cannot use the GPU; `immich-triton doctor` says what is missing")
        return session

    def _share_arena(self):
        """All sessions of this process have one arena with one limit: what one has freed, the next can have."""
        where = ort.OrtMemoryInfo(
            "Cuda", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, self._device_id, ort.OrtMemType.DEFAULT
        )
        arena = ort.OrtArenaCfg({"max_mem": self._limit_bytes, "arena_extend_strategy": _AS_REQUESTED})
        try:
            ort.create_and_register_allocator_v2(CUDA, where, self._options, arena)
        except RuntimeError as error:
            raise Missing(str(error)) from error


def read(config, device_id):
    """The engine that a model's config asks for.

    Args:
        device_id: of the NVIDIA GPU that its instance is to run on; None for a CPU.

    Raises:
        Missing, memory.TooLittle: it cannot be had here.
    """
    if device_id is not None:
        return Cuda(read_parameters(config), device_id)
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        if accelerator["name"] != OPENVINO:
            raise Missing(f"there is no engine {accelerator['name']!r} here, only {OPENVINO!r}")
        return OpenVino(accelerator.get("parameters", {}))
    return Own()


def _find_openvino(kind):
    """The plug-in's first device of a kind."""
    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError:
        raise Missing(f"OpenVINO is not installed here: pip install {PACKAGE}") from None
    try:
        if not _devices(plugin.get_ep_name()):
            ort.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
    except Exception as error:  # the runtime's have no base class of their own
        raise Missing(f"OpenVINO cannot be loaded: {error}") from error
    for device in _devices(plugin.get_ep_name()):
        if device.device.type.name == kind:
            return device
    raise Missing(f"OpenVINO finds no {kind} here" + (", not even with /dev/dri" if kind == "GPU" else ""))


def _devices(name):
    return [device for device in ort.get_ep_devices() if device.ep_name == name]
