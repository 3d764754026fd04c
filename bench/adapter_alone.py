"""What the adapter itself costs: requests a second that one core carries, before a Triton that answers at once.

    load ──picture──▶ adapter ──picture──▶ fake Triton

The adapter has a core for itself; the other two share another, of which they need little.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from adapter.embedded import free_port
from adapter.errors import SetupError
from adapter.protocol import TaskName, TypeName
from adapter.tasks import vector_text
from bench.fake_triton import IMAGE_SIZE, embedding
from bench.processes import cpu_s
from bench.workloads import CONTENT_TYPE, Kind, Request
from demo import child_service
from demo.models import clip

NAME, DIMENSIONS, CELL_PX = "adapter-alone", 512, 32
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Cost:
    """What a load found.

    Attributes:
        cpu_ms: processor time of the adapter for one request; a core carries 1000 / cpu_ms of them a second.
        adapter_share, load_share, fake_share: of a core, 0..1; where the last two are near 1 together, they are
            what was measured.
        memory_mb: of the adapter (RSS) at the end, in 10^6 bytes.
    """

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    adapter_share: float
    load_share: float
    fake_share: float
    memory_mb: float


async def measure(seconds: float, size: int, connections: int, warm_up_s: float = 1.0) -> Cost:
    """Starts the three, loads the adapter and stops them.

    Args:
        seconds: of the load that is measured.
        size: of the picture in each request, in bytes.
        connections: requests that are always in flight.

    Raises:
        SetupError: the adapter did not start, or an answer was not the right one.
    """
    cores = sorted(os.sched_getaffinity(0))
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="immich-triton-"))
        _write_model(Path(folder, "models", TaskName.CLIP, NAME))
        triton_port = free_port()
        with _on_core(cores[-1]):
            fake = await stack.enter_async_context(_fake_triton(triton_port))
        with _on_core(cores[0]):
            service = await stack.enter_async_context(
                child_service.start(_variables(folder, triton_port), START_TIMEOUT_S)
            )
        with _on_core(cores[-1]):
            await _load(service.url, size, connections, warm_up_s)
            adapter = psutil.Process(service.pid)
            before = cpu_s(adapter), cpu_s(fake)
            answers = await _load(service.url, size, connections, seconds)
        spent = cpu_s(adapter) - before[0], cpu_s(fake) - before[1]
        return cost(answers, *spent, adapter.memory_info().rss / 1e6)


def request(host: str, size: int) -> bytes:
    """`POST /predict` with a picture of random bytes, as Node writes it."""
    entries = json.dumps({TaskName.CLIP: {TypeName.VISUAL: {"modelName": NAME}}})
    picture = np.random.default_rng(0).bytes(size)
    body = Request(Kind.PICTURE, "a picture", entries, image=picture).body
    header = (
        f"POST /predict HTTP/1.1\r\nhost: {host}\r\nconnection: keep-alive\r\n"
        f"content-type: {CONTENT_TYPE}\r\naccept: */*\r\naccept-language: *\r\n"
        "sec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return header.encode() + body


def right_answer() -> dict[str, object]:
    """The answer to every request."""
    height, width = IMAGE_SIZE[0].tolist()
    return {"clip": vector_text(embedding(DIMENSIONS)[0]), "imageHeight": height, "imageWidth": width}


def cost(answers: Mapping[str, Any], adapter_s: float, fake_s: float, memory_mb: float) -> Cost:
    """What the load's report says, with the processor time that the other two took meanwhile.

    Raises:
        SetupError: not every answer was the right one.
    """
    if answers["statuses"].keys() != {"200"} or [*map(json.loads, answers["texts"])] != [right_answer()]:
        raise SetupError(
            f"The adapter answered wrongly: statuses {answers['statuses']}, {len(answers['texts'])} answers."
        )
    requests, duration_s = len(answers["latencies_s"]), answers["duration_s"]
    p50_ms, p99_ms = np.percentile(answers["latencies_s"], (50, 99)) * 1000
    return Cost(
        requests=requests,
        per_second=requests / duration_s,
        p50_ms=float(p50_ms),
        p99_ms=float(p99_ms),
        cpu_ms=adapter_s / requests * 1000,
        adapter_share=adapter_s / duration_s,
        load_share=answers["cpu_s"] / duration_s,
        fake_share=fake_s / duration_s,
        memory_mb=memory_mb,
    )


def _write_model(folder: Path) -> None:
    """One that is prepared in a moment: `image` (1, 3, 224, 224) → `embedding` (1, 512), as wide as CLIP's usual."""
    clip.build(folder)
    features = 3 * (clip.SIZE_PX // CELL_PX) ** 2
    projection = np.random.default_rng(0).normal(size=(features, DIMENSIONS)).astype(np.float32)
    cell = [CELL_PX, CELL_PX]
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=cell, strides=cell),
        helper.make_node("Flatten", ["cells"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["embedding"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, clip.SIZE_PX, clip.SIZE_PX])
    vector = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, DIMENSIONS])
    weights = [numpy_helper.from_array(projection, "projection")]
    graph = helper.make_graph(nodes, NAME, [image], [vector], weights)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, folder / TypeName.VISUAL / "model.onnx")


def _variables(folder: str, triton_port: int) -> dict[str, str]:
    return {
        "IMMICH_TRITON_URL": f"http://127.0.0.1:{triton_port}",
        "IMMICH_TRITON_STATE_FOLDER": f"{folder}/state",
        "MACHINE_LEARNING_CACHE_FOLDER": f"{folder}/models",
        "MACHINE_LEARNING_PRELOAD__CLIP__VISUAL": NAME,
    }


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Processes that are started within the block stay on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def _fake_triton(port: int) -> AsyncIterator[psutil.Process]:
    module = "bench.fake_triton"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, str(port), str(DIMENSIONS))
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def _load(url: str, size: int, connections: int, seconds: float) -> dict[str, Any]:
    """What `bench.closed_loops` says, in a process of its own."""
    address = urlsplit(url)
    arguments = map(str, ("-m", "bench.closed_loops", address.port, connections, seconds))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(request(address.netloc, size))
    answers: dict[str, Any] = json.loads(output)
    return answers
