"""What is seen of a target beside its answers: Triton's counters, and processes."""

import asyncio
import os
from typing import Any

import pytest

from bench import stages
from bench.processes import Watch, at_rest, listener, name_of
from bench.results import Stage

STUB = (
    "/run/triton_python_backend_stub /repository/{0}/1/model.onnx immich_triton_7_a-b 1048576 1048576 30405"
    " /run/backends/python 336 {0}_0_0 /run/backends/onnxruntime"
)


def statistics(**models: tuple[int, int, int]) -> dict[str, Any]:
    """Triton's answer; each model's inferences, executions and milliseconds of everything that it does."""

    def times(ms: int) -> dict[str, Any]:
        names = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        return {name: {"count": 1, "ns": ms * 10**6} for name in names}

    return {
        "model_stats": [
            {
                "name": name.replace("_", "."),
                "inference_count": count,
                "execution_count": runs,
                "inference_stats": times(ms),
            }
            for name, (count, runs, ms) in models.items()
        ]
    }


def test_stages_are_the_difference_of_two_readings() -> None:
    before = stages.parse(statistics(clip_encoder=(10, 10, 100)))
    after = stages.parse(statistics(clip_encoder=(30, 15, 140)))
    (stage,) = stages.between(before, after)
    assert stage == Stage("clip.encoder", inferences=20, executions=5, queue_ms=2.0, compute_ms=6.0)
    assert stage.mean_batch == 4.0


def test_ensembles_and_idle_models_are_no_stages() -> None:
    before = stages.parse(statistics(clip=(1, 1, 1), clip_encoder=(1, 1, 1), ocr_lines=(4, 4, 4)))
    after = stages.parse(statistics(clip=(2, 2, 2), clip_encoder=(2, 2, 2), ocr_lines=(4, 4, 4)))
    assert [stage.model for stage in stages.between(before, after)] == ["clip.encoder"]


def test_a_model_that_was_loaded_anew_is_counted_from_nothing() -> None:
    before = stages.parse(statistics(clip_encoder=(100, 100, 1000)))
    after = stages.parse(statistics(clip_encoder=(3, 3, 6)))
    assert stages.between(before, after)[0].inferences == 3


@pytest.mark.parametrize(
    ("program", "command_line", "is_root", "name"),
    [
        ("python", "/venv/bin/python -m adapter serve", True, "adapter"),
        ("immich-triton", "immich-triton serve --port 3003", True, "adapter"),
        ("python", "python -m bench.inprocess", True, "python"),
        ("tritonserver", "/venv/tritonserver --http-port=8000", False, "tritonserver"),
        (
            "triton_python_b",
            STUB.format("ViT-B-32__openai.visual.encoder"),
            False,
            "ViT-B-32__openai.visual.encoder",
        ),
        ("triton_python_b", STUB.format("a_1_2.detection"), False, "a_1_2.detection"),
    ],
)
def test_a_process_is_named_by_what_it_does(
    program: str, command_line: str, is_root: bool, name: str
) -> None:
    assert name_of(program, command_line.split(), is_root=is_root) == name


def test_a_watched_process_took_memory_and_processor_time() -> None:
    async def watch() -> tuple[Any, float]:
        watched = Watch(os.getpid())
        watched.start()
        await asyncio.sleep(0)
        sum(number * number for number in range(10**6))
        return await watched.stop()

    (this, *_), peak_mb = asyncio.run(watch())
    assert this.cpu_s > 0
    assert 0 < this.memory_mb <= peak_mb
    assert at_rest(os.getpid())[0].name == this.name


def test_who_listens_is_found_on_this_host_only() -> None:
    async def listen() -> tuple[int | None, int | None]:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return listener(f"http://localhost:{port}/secret/"), listener(f"http://192.0.2.1:{port}")

    assert asyncio.run(listen()) == (os.getpid(), None)
