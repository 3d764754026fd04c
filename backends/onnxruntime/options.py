"""What a config.pbtxt says of a session, in ONNX Runtime's words."""

import os

import onnxruntime as ort

from backends import cores

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_OPTIONS = ("arena_extend_strategy", "cudnn_conv_algo_search", "cudnn_conv_use_max_workspace", "use_tf32")
"""Parameters that go to CUDA's provider as they are."""

SHRINKAGE = "memory.enable_memory_arena_shrinkage"
_NICE = {"PRIORITY_MAX": 0, "PRIORITY_DEFAULT": 5}


def read_parameters(config):
    return {key: value["string_value"] for key, value in config.get("parameters", {}).items()}


def session_options(config):
    """The options of a session: fields and parameters are called as NVIDIA's own ONNX Runtime backend calls them.

    Source: triton-inference-server/onnxruntime_backend, README, "Model Config Options".

    Args:
        config: of the model, as Triton hands it on.
    """
    parameters = read_parameters(config)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if config.get("optimization", {}).get("graph", {}).get("level"):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # Said, because ONNX Runtime's own default is to bind threads to cores, the same ones for every model.
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0)) or cores.physical()
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") != "0"
    # Several models share the cores: a thread that spins while it waits takes them from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def cuda_options(parameters, device_id, limit_bytes):
    """The options of CUDA's provider."""
    asked = {name: parameters[name] for name in CUDA_OPTIONS if name in parameters}
    limit = {"gpu_mem_limit": str(limit_bytes)} if limit_bytes else {}
    return {"device_id": str(device_id), **limit, **asked}


def giving_back(device):
    """Options of a run after which an arena gives back what is free, whether the run succeeds or not.

    Args:
        device: whose arena: `cpu:0`, `gpu:0` …
    """
    options = ort.RunOptions()
    options.add_run_config_entry(SHRINKAGE, device)
    return options


def take_priority(config):
    """Lets the kernel run models in the order of their priorities, at the levels that Triton gives to its own threads.

    Must be called before a session starts its threads, which inherit the level.

    Source: triton-inference-server/core, `GetCpuNiceLevel`.
    """
    level = _NICE[config.get("optimization", {}).get("priority", "PRIORITY_DEFAULT")]
    servers = os.getpriority(os.PRIO_PROCESS, os.getppid())
    os.nice(max(0, servers + level - os.nice(0)))  # only root may lower it
