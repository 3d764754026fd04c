"""A GPU counts once a graph has run on it; what stands in the way is said."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter import device, processor
from adapter.device import (
    NoDriver,
    NoGpu,
    choose,
    count_hands,
    find,
    find_gpu,
    read_reason,
    settle,
    try_gpu,
)
from adapter.errors import SetupError
from adapter.setting_types import Device, Precision
from adapter.settings import PreparationSettings, Settings, load

CARD = "NVIDIA GeForce RTX 3060 (12288 MiB, driver 580.95.05)"
GB = 2**30


ELSEWHERE = "http://triton:8000"


def chosen(triton_url: str | None = None, **preparation: Any) -> Settings:
    """The defaults, but for what is chosen."""
    update = {"triton_url": triton_url, "preparation": PreparationSettings(**preparation)}
    return load().model_copy(update=update)


def failing(error: Exception) -> Callable[[Device], Any]:
    def fail(_: Device) -> Any:
        raise error

    return fail


def found(_: Device) -> str:
    return CARD


def runs(_: Device) -> None:
    pass


def test_a_gpu_on_which_a_graph_ran_is_taken() -> None:
    taken = {wanted: choose(wanted, found, runs) for wanted in Device}
    assert taken == {device: device for device in Device} | {Device.AUTO: Device.GPU}


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
    find: Callable[[Device], str],
    attempt: Callable[[Device], None],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SetupError, match=rf"IMMICH_TRITON_DEVICE=gpu cannot be had: .*{reason}"):
        choose(Device.GPU, find, attempt)
    with caplog.at_level(logging.INFO):
        assert choose(Device.AUTO, find, attempt) is Device.CPU
        assert choose(Device.INTEL, find, attempt) is Device.CPU
    expected = logging.INFO if "no NVIDIA" in reason else logging.WARNING
    assert [record.levelno for record in caplog.records] == [expected, expected]


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


@pytest.mark.parametrize(
    ("wanted", "lacks"),
    [
        (Device.GPU, r"onnxruntime-gpu is not installed|libcublasLt|CUDA"),
        (Device.INTEL, "OpenVINO finds no GPU here|OpenVINO is not installed"),
    ],
)
def test_a_host_without_a_gpu_says_what_the_trial_lacks(wanted: Device, lacks: str) -> None:
    with pytest.raises(NoGpu, match=lacks):
        try_gpu(wanted)


@pytest.mark.parametrize(("vendor", "seen"), [("0x8086", True), ("0x1002", False), (None, False)])
def test_intel_graphics_are_told_by_their_vendor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str | None, seen: bool
) -> None:
    monkeypatch.setattr(device, "RENDER_DEVICES", tmp_path)
    if vendor:
        (tmp_path / "renderD128/device").mkdir(parents=True)
        (tmp_path / "renderD128/device/vendor").write_text(f"{vendor}\n")
    if seen:
        assert find(Device.INTEL) == "Intel graphics at /dev/dri/renderD128"
    else:
        with pytest.raises(NoGpu, match="there are no Intel graphics"):
            find(Device.INTEL)


FLAGS = "model name\t: a processor\nflags\t\t: fpu avx2 {}\n"


@pytest.mark.parametrize(("flag", "has"), [("amx_bf16", True), ("avx512_bf16", True), ("avx512_vnni", False)])
def test_bf16_is_refused_on_a_processor_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, has: bool
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "has_plugin", lambda: True)
    (tmp_path / "cpuinfo").write_text(FLAGS.format(flag))
    asked = chosen(triton_url=ELSEWHERE, precision="bf16")
    if has:
        assert settle(asked).preparation.precision is Precision.BF16
    else:
        with pytest.raises(SetupError, match="needs a processor with AMX or AVX512_BF16"):
            settle(asked)


@pytest.mark.parametrize("asked", [{"engine": "openvino"}, {"precision": "bf16"}])
def test_openvino_is_refused_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    monkeypatch.setattr(processor, "has_bf16", lambda: True)
    monkeypatch.setattr(processor, "has_plugin", lambda: False)
    with pytest.raises(
        SetupError, match="not installed here: with the variable set, scripts/setup installs it"
    ):
        settle(chosen(triton_url=ELSEWHERE, **asked))


def test_the_first_reason_of_the_runtime_is_the_one_that_counts() -> None:
    said = (
        "\x1b[1;31m[E:onnxruntime] Failed to load library x.so with error: libcublasLt.so.13: no such file\n"
        "Error: ONNX Runtime gave the GPU up\n"
    )
    assert read_reason(said) == "libcublasLt.so.13: no such file"
    assert (
        read_reason("CUDA failure 35: driver too old ; GPU=0 ; file=x") == "CUDA failure 35: driver too old"
    )


@pytest.mark.parametrize(
    ("asked", "device"), [("auto", "cpu"), ("cpu", "cpu"), ("gpu", "gpu"), ("intel", "intel")]
)
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
