"""The processor of this host, and the plug-in for it: what the choice of an engine holds for."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
PLUGIN = "onnxruntime-ep-openvino"
_BF16 = {"amx_bf16", "avx512_bf16"}


def describe() -> tuple[str, ...]:
    """Its kind and instruction sets, and the versions of what computes on it."""
    text = CPUINFO.read_text()
    kind = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    versions = (f"{package} {_version(package)}" for package in ("onnxruntime", PLUGIN))
    return (kind[1] if kind else "", " ".join(sorted(_flags(text))), *versions)


def has_bf16() -> bool:
    """Whether it multiplies matrices in bfloat16."""
    return bool(_BF16 & _flags(CPUINFO.read_text()))


def has_plugin() -> bool:
    """Whether OpenVINO is installed as a plug-in of ONNX Runtime."""
    return _version(PLUGIN) is not None


def _flags(text: str) -> set[str]:
    """The instruction sets of the first core."""
    found = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
