"""What a benchmark was made on: the host, the versions, the models and their graphs."""

import platform
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import aiohttp
import psutil

from adapter.errors import SetupError
from adapter.preparation.manifest import public_name
from adapter.protocol import Part, parse_entries
from bench.inprocess import CORES, Config
from bench.workloads import Workload


def parts_of(workload: Workload) -> list[Part]:
    """The parts that answer a workload."""
    entries = (parse_entries(requests[0].entries) for requests in workload.values())
    types = (types for tasks in entries for types in tasks.values())
    return list(dict.fromkeys(entry.part for halves in types for entry in halves.values()))


async def configs(
    session: aiohttp.ClientSession, triton_url: str, parts: Iterable[Part]
) -> dict[str, Config]:
    """What Triton runs for the parts: the configurations of their models, and of those that these are made of.

    Raises:
        SetupError: this Triton does not answer, or does not have them loaded.
    """
    found: dict[str, Config] = {}
    wanted = [public_name(part) for part in parts]
    try:
        while wanted:
            model = wanted.pop()
            url = f"{triton_url}/v2/models/{model}/config"
            async with session.get(url, raise_for_status=True) as response:
                found[model] = await response.json()
            steps = found[model].get("ensemble_scheduling", {}).get("step", ())
            wanted += [step["model_name"] for step in steps]
    except aiohttp.ClientError as error:
        raise SetupError(f"{triton_url} is not the service's Triton: {error}") from error
    return found


def graphs_mb(repository: Path, models: Iterable[str]) -> dict[str, float]:
    """Size in MB of each model's graph, with its weights; for those that have one, and that lie here."""
    sizes = {model: _graph_bytes(repository / model) for model in models}
    return {model: size / 1e6 for model, size in sizes.items() if size}


def models_of(parts: Iterable[Part], graphs: Mapping[str, float]) -> dict[str, str]:
    """Task → the model's name, and the size of each half's graph."""
    found: dict[str, str] = {}
    for part in parts:
        size = sum(mb for model, mb in graphs.items() if model.startswith(f"{public_name(part)}."))
        half = f"{part.type} {size:.0f} MB" if size else str(part.type)
        found[part.task] = f"{found[part.task]}, {half}" if part.task in found else f"{part.name}: {half}"
    return found


def host() -> dict[str, str]:
    """Facts about this host."""
    return {
        "CPU": _cpu(),
        "cores": str(CORES),
        "memory": f"{psutil.virtual_memory().total / 1e9:.1f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "ONNX Runtime": version("onnxruntime"),
        "immich-triton": version("immich-triton"),
    }


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _graph_bytes(folder: Path) -> int:
    files = [path for path in folder.glob("*/*") if path.is_file()]
    return sum(path.stat().st_size for path in files) if any(path.suffix == ".onnx" for path in files) else 0


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
