"""Which device models run on. A GPU counts only once a graph has really run on it."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from adapter.errors import SetupError
from adapter.settings import Device, Precision, Settings

log = logging.getLogger(__name__)

DRIVER = Path("/proc/driver/nvidia/version")
QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
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


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the driver's program, and our own
            command, capture_output=True, text=True, timeout=TRIAL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoGpu(f"{' '.join(command)} did not end within {TRIAL_TIMEOUT_S:g} s") from None


def try_gpu() -> None:
    """Runs a graph on it, in a process of its own.

    Raises:
        NoGpu: that failed.
    """
    done = _run([sys.executable, "-m", "adapter.preparation.trial"])
    if done.returncode:
        raise NoGpu(read_reason(done.stderr) or f"a small graph failed on it ({done.returncode})")


def read_reason(errors: str) -> str:
    """The first reason among what ONNX Runtime says on its way down."""
    for line in _COLOURS.sub("", errors).splitlines():
        if match := _REASON.search(line):
            return next(group for group in match.groups() if group).strip()
    return errors.strip().rpartition("\n")[2]


def choose(
    wanted: Device, find: Callable[[], str] = find_gpu, attempt: Callable[[], None] = try_gpu
) -> Device:
    """The device that models are to run on.

    Raises:
        SetupError: a GPU is wanted and cannot be had.
    """
    if wanted == Device.CPU:
        return wanted
    found = ""
    try:
        found = find()
        attempt()
    except NoGpu as reason:
        if wanted == Device.GPU:
            raise SetupError(
                f"IMMICH_TRITON_DEVICE=gpu cannot be had: {_sentence(found, reason)}"
            ) from reason
        level = logging.INFO if isinstance(reason, NoDriver) else logging.WARNING
        log.log(level, "models run on the CPU: %s", _sentence(found, reason))
        return Device.CPU
    log.info("models run on the GPU: %s", found)
    return Device.GPU


def _sentence(found: str, reason: NoGpu) -> str:
    return f"{found} cannot be used: {reason}" if found else str(reason)


def settle(settings: Settings) -> Settings:
    """The settings with `auto` decided. Another Triton's host is not ours to look at: its device is said, or a CPU.

    Raises:
        SetupError: a GPU is wanted and cannot be had, or the precision is not the device's.
    """
    chosen = settings.preparation
    if settings.triton_url:
        device = Device.GPU if chosen.device is Device.GPU else Device.CPU
    else:
        device = choose(chosen.device)
    precision = chosen.precision
    if device is Device.CPU and precision in (Precision.FP16, Precision.TF32):
        log.warning("IMMICH_TRITON_PRECISION=%s is for a GPU: the CPU computes in fp32", precision)
        precision = Precision.FP32
    if device is Device.GPU and precision is Precision.INT8:
        raise SetupError("IMMICH_TRITON_PRECISION=int8 is for a CPU: set IMMICH_TRITON_DEVICE=cpu, or fp16")
    settled = {
        "device": device,
        "precision": precision,
        "step_processes": chosen.step_processes or count_hands(device, _cores(), _memory_bytes()),
    }
    return settings.model_copy(update={"preparation": chosen.model_copy(update=settled)})


def count_hands(device: Device, cores: int, memory_bytes: int) -> int:
    """How many processes a step that works on pictures gets: one for each GB at most, and `MOST_HANDS`; each is some
    40 MB. The adapter may not see how much of the host's memory Triton's container may take.

    Where graphs run on the CPU, they need the most of it. On few cores, one process with threads takes less memory.
    """
    wanted = cores * 3 // 4 if device is Device.GPU else cores // 4
    return max(1, min(wanted, memory_bytes // 2**30, MOST_HANDS))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
