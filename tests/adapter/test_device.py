"""A GPU counts once a graph has run on it; what stands in the way is said."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter import device
from adapter.device import (
    NoDriver,
    NoGpu,
    choose,
    count_hands,
    find_gpu,
    read_reason,
    settle,
    try_gpu,
)
from adapter.errors import SetupError
from adapter.settings import Device, Precision, PreparationSettings, Settings, load

CARD = "NVIDIA GeForce RTX 3060 (12288 MiB, driver 580.95.05)"
GB = 2**30


ELSEWHERE = "http://triton:8000"


def chosen(triton_url: str | None = None, **preparation: Any) -> Settings:
    """The defaults, but for what is chosen."""
    update = {"triton_url": triton_url, "preparation": PreparationSettings(**preparation)}
    return load().model_copy(update=update)


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def found() -> str:
    return CARD


def runs() -> None:
    pass


def test_a_gpu_on_which_a_graph_ran_is_taken() -> None:
    assert [choose(wanted, found, runs) for wanted in Device] == [Device.GPU, Device.CPU, Device.GPU]


@pytest.mark.parametrize(
    ("find", "attempt", "reason"),
    [
        (failing(NoDriver("there is no NVIDIA driver")), runs, "there is no NVIDIA driver"),
        (failing(NoGpu("the driver does not answer: Driver mismatch")), runs, "Driver mismatch"),
        (
            found,
            failing(NoGpu("libcublasLt.so.13: not there")),
            r"RTX 3060 .* cannot be used: libcublasLt.so.13",
        ),
    ],
)
def test_why_a_gpu_is_not_taken_is_said_and_is_an_error_where_it_was_asked_for(
    find: Callable[[], str], attempt: Callable[[], None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SetupError, match=rf"IMMICH_TRITON_DEVICE=gpu cannot be had: .*{reason}"):
        choose(Device.GPU, find, attempt)
    with caplog.at_level(logging.INFO):
        assert choose(Device.AUTO, find, attempt) is Device.CPU
    (record,) = caplog.records
    assert record.levelno == (logging.INFO if "no NVIDIA" in reason else logging.WARNING)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'NVIDIA GeForce RTX 3060, 12288 MiB, 580.95.05'; echo 'another, 1 MiB, 580.95.05'", CARD),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "version mismatch"),
        ("echo 'No devices were found'", "No devices"),
        ("", "no NVIDIA driver"),
    ],
)
def test_the_driver_is_asked_for_the_first_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    if found == CARD:
        assert find_gpu() == found
    else:
        with pytest.raises(NoGpu, match=found):
            find_gpu()


def test_a_host_without_a_gpu_says_what_the_trial_lacks() -> None:
    with pytest.raises(NoGpu, match=r"onnxruntime-gpu is not installed|libcublasLt|CUDA"):
        try_gpu()


def test_the_first_reason_of_the_runtime_is_the_one_that_counts() -> None:
    said = (
        "\x1b[1;31m[E:onnxruntime] Failed to load library x.so with error: libcublasLt.so.13: no such file\n"
        "Error: ONNX Runtime gave the GPU up\n"
    )
    assert read_reason(said) == "libcublasLt.so.13: no such file"
    assert (
        read_reason("CUDA failure 35: driver too old ; GPU=0 ; file=x") == "CUDA failure 35: driver too old"
    )


@pytest.mark.parametrize(("asked", "device"), [("auto", "cpu"), ("cpu", "cpu"), ("gpu", "gpu")])
def test_of_another_hosts_triton_the_setting_is_believed(asked: str, device: str) -> None:
    assert settle(chosen(triton_url=ELSEWHERE, device=asked)).preparation.device is Device(device)


def test_a_precision_that_the_cpu_lacks_becomes_fp32_and_int8_is_refused_on_a_gpu() -> None:
    half = settle(chosen(triton_url=ELSEWHERE, precision="fp16"))
    assert half.preparation.precision is Precision.FP32
    whole = settle(chosen(triton_url=ELSEWHERE, precision="int8"))
    assert whole.preparation.precision is Precision.INT8
    with pytest.raises(SetupError, match="int8 is for a CPU"):
        on_gpu = load().preparation.model_copy(update={"device": Device.GPU, "precision": Precision.INT8})
        settle(chosen(triton_url=ELSEWHERE).model_copy(update={"preparation": on_gpu}))


@pytest.mark.parametrize(
    ("device", "cores", "memory", "hands"),
    [
        (Device.GPU, 16, 128 * GB, 12),
        (Device.GPU, 64, 128 * GB, 12),
        (Device.GPU, 16, 8 * GB, 8),
        (Device.GPU, 2, 8 * GB, 1),
        (Device.CPU, 16, 64 * GB, 4),
        (Device.CPU, 2, 64 * GB, 1),
        (Device.CPU, 1, GB // 2, 1),
    ],
)
def test_hands_are_as_many_as_cores_and_memory_carry(
    device: Device, cores: int, memory: int, hands: int
) -> None:
    assert count_hands(device, cores, memory) == hands


def test_what_was_asked_for_is_kept() -> None:
    assert settle(chosen(device="cpu", step_processes=3)).preparation.step_processes == 3
