"""Which device models run on. A GPU counts only once a graph has really run on it."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from adapter import processor
from adapter.errors import SetupError
from adapter.setting_types import Device, EngineChoice, Precision
from adapter.settings import PreparationSettings, Settings
from backends import cores

log = logging.getLogger(__name__)

DRIVER = Path("/proc/driver/nvidia/version")
QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
RENDER_DEVICES = Path("/sys/class/drm")
INTEL = "0x8086"
TRIAL_TIMEOUT_S = 120.0
MOST_HANDS = 12
"""Measured with 16 cores: then the adapter's one process is the bound, not the steps."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_REASON = re.compile(r"with error: (.+)|(CUDA failure .+?) ;|(?:Error|Exception): (.+)")


class NoGpu(Exception):
    """There is none that can be used; the message says why."""


class NoDriver(NoGpu):
    """Nothing here is NVIDIA's."""


def find_gpu() -> str:
    """What the driver says of the first GPU: its name, memory, and the driver's version.

    Raises:
        NoGpu: there is no driver, or it does not answer.
    """
    try:
        done = _run(QUERY)
    except FileNotFoundError:
        if not DRIVER.exists():
            raise NoDriver("there is no NVIDIA driver") from None
        raise NoGpu(f"an NVIDIA driver is loaded, but {QUERY[0]} is not here") from None
    first = done.stdout.partition("\n")[0].split(", ")
    if done.returncode or len(first) != QUERY[1].count(",") + 1:
        raise NoGpu(f"the NVIDIA driver does not answer: {' '.join((done.stdout + done.stderr).split())}")
    name, memory, driver = first
    return f"{name} ({memory}, driver {driver})"


def find_intel() -> str:
    """Where the first Intel graphics can be opened.

    Raises:
        NoGpu: there are none.
    """
    for vendor in sorted(RENDER_DEVICES.glob("renderD*/device/vendor")):
        if vendor.read_text().strip() == INTEL:
            return f"Intel graphics at /dev/dri/{vendor.parts[-3]}"
    raise NoGpu("there are no Intel graphics")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the driver's program, and our own
            command, capture_output=True, text=True, timeout=TRIAL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoGpu(f"{' '.join(command)} did not end within {TRIAL_TIMEOUT_S:g} s") from None


def try_gpu(device: Device) -> None:
    """Runs a graph on it, in a process of its own.

    Raises:
        NoGpu: that failed.
    """
    kind = Device.INTEL if device is Device.INTEL else Device.GPU
    done = _run([sys.executable, "-m", "adapter.preparation.trial", kind])
    if done.returncode:
        raise NoGpu(read_reason(done.stderr) or f"a small graph failed on it ({done.returncode})")


def read_reason(errors: str) -> str:
    """The first reason among what ONNX Runtime says on its way down."""
    for line in _COLOURS.sub("", errors).splitlines():
        if match := _REASON.search(line):
            return next(group for group in match.groups() if group).strip()
    return errors.strip().rpartition("\n")[2]


def find(device: Device) -> str:
    """What is known of the graphics that a device stands for; `auto` stands for an NVIDIA GPU.

    Raises:
        NoGpu: there are none.
    """
    return find_intel() if device is Device.INTEL else find_gpu()


def choose(
    wanted: Device, find: Callable[[Device], str] = find, attempt: Callable[[Device], None] = try_gpu
) -> Device:
    """The device that models are to run on.

    Raises:
        SetupError: an NVIDIA GPU is wanted and cannot be had.
    """
    if wanted is Device.CPU:
        return wanted
    device = Device.INTEL if wanted is Device.INTEL else Device.GPU
    found = ""
    try:
        found = find(device)
        attempt(device)
    except NoGpu as reason:
        if wanted is Device.GPU:
            raise SetupError(
                f"IMMICH_TRITON_DEVICE=gpu cannot be had: {_sentence(found, reason)}"
            ) from reason
        level = logging.INFO if isinstance(reason, NoDriver) else logging.WARNING
        log.log(level, "models run on the CPU: %s", _sentence(found, reason))
        return Device.CPU
    log.info("models run on the GPU: %s", found)
    return device


def _sentence(found: str, reason: NoGpu) -> str:
    return f"{found} cannot be used: {reason}" if found else str(reason)


def settle(settings: Settings) -> Settings:
    """The settings with `auto` decided. Another Triton's host is not ours to look at: its device is said, or a CPU.

    Raises:
        SetupError: a GPU is wanted and cannot be had, or the precision is not the device's.
    """
    chosen = settings.preparation
    told = chosen.device if chosen.device.is_gpu else Device.CPU
    device = told if settings.triton_url else choose(chosen.device)
    settled = {
        "device": device,
        "precision": _precision(device, chosen),
        "step_processes": chosen.step_processes or count_hands(device, cores.logical(), host_memory_bytes()),
    }
    return settings.model_copy(update={"preparation": chosen.model_copy(update=settled)})


def _precision(device: Device, chosen: PreparationSettings) -> Precision:
    """The precision that is asked for, or fp32 where the processor takes a GPU's place.

    Raises:
        SetupError: it is not the device's, or cannot be had here.
    """
    precision, asked = chosen.precision, f"IMMICH_TRITON_PRECISION={chosen.precision}"
    if device is not Device.CPU:
        if precision in (Precision.INT8, Precision.BF16):
            raise SetupError(f"{asked} is for a CPU: set IMMICH_TRITON_DEVICE=cpu, or fp16")
        return precision
    if precision in (Precision.FP16, Precision.TF32):
        log.warning("%s is for a GPU: the CPU computes in fp32", asked)
        return Precision.FP32
    if precision is Precision.BF16 and not processor.has_bf16():
        raise SetupError(f"{asked} needs a processor with AMX or AVX512_BF16, and this one has neither")
    if (precision is Precision.BF16 or chosen.engine is EngineChoice.OPENVINO) and not processor.has_plugin():
        raise SetupError(
            "OpenVINO is asked for, and not installed here: with the variable set, scripts/setup installs it; of the "
            "images, it is in the one for Intel graphics (docker build --build-arg RUNTIME=intel)"
        )
    return precision


def count_hands(device: Device, cores: int, memory_bytes: int) -> int:
    """How many processes a step that works on pictures gets: one for each GB at most, and `MOST_HANDS`; each is some
    40 MB. The adapter may not see how much of the host's memory Triton's container may take.

    Where graphs run on the CPU, they need the most of it. On few cores, one process with threads takes less memory.
    """
    wanted = cores * 3 // 4 if device.is_gpu else cores // 4
    return max(1, min(wanted, memory_bytes // 2**30, MOST_HANDS))


def host_memory_bytes() -> int:
    """The host's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
