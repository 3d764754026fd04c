"""What is counted, over the application and the registry with a Triton that is none."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import cast
from urllib.request import urlopen

import pytest

from adapter.embedded import free_port
from adapter.errors import ModelRefused, ModelUnavailable, SetupError
from adapter.faults import Faults
from adapter.metrics import UNKNOWN, Metrics, Progress, Stage, exposed
from adapter.preparation.door import Preparation
from adapter.protocol import Part, TaskName, TypeName
from adapter.registry import Registry
from adapter.requests import Account, RequestLog
from adapter.triton import Triton
from tests.support.clock import play
from tests.support.triton import FakePreparation, FakeTriton

PART = Part(TaskName.CLIP, TypeName.VISUAL, "m")
LABELS = {"model": "m", "type": "visual"}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"immich_triton_{name}", labels)


def answer(metrics: Metrics, *parts: Part, status: int = 200) -> None:
    progress = Progress(metrics.in_flight)
    for stage in (*Stage, None):
        progress.enter(stage)
    metrics.answered(parts, status, progress)


class TestRequests:
    def test_a_prediction_is_counted_by_task_model_and_status_and_timed_by_stage(self) -> None:
        metrics = Metrics()
        answer(metrics, PART)
        assert value(metrics, "requests_total", task="clip", model="m", status="200") == 1
        assert value(metrics, "request_seconds_count", task="clip") == 1
        for stage in Stage:
            assert value(metrics, "stage_seconds_count", task="clip", stage=stage) == 1

    def test_both_halves_of_a_model_are_one_prediction_and_two_tasks_are_two(self) -> None:
        metrics = Metrics()
        faces = [Part(TaskName.FACES, kind, "f") for kind in (TypeName.DETECTION, TypeName.RECOGNITION)]
        answer(metrics, PART, *faces)
        for task, model in (("clip", "m"), ("facial-recognition", "f")):
            assert value(metrics, "requests_total", task=task, model=model, status="200") == 1

    def test_a_name_that_was_never_served_is_no_label(self) -> None:
        metrics = Metrics()
        for number in range(100):
            answer(metrics, Part(TaskName.CLIP, TypeName.VISUAL, f"made-up-{number}"), status=422)
        answer(metrics, PART)
        answer(metrics, PART, status=503)
        assert value(metrics, "requests_total", task="clip", model=UNKNOWN, status="422") == 100
        assert value(metrics, "requests_total", task="clip", model="m", status="503") == 1
        series = [sample for family in metrics.registry.collect() for sample in family.samples]
        assert not [sample for sample in series if "made-up" in str(sample.labels)]

    def test_a_request_is_in_one_stage_at_a_time_and_in_none_at_the_end(self) -> None:
        metrics = Metrics()
        progress = Progress(metrics.in_flight)
        for stage in Stage:
            progress.enter(stage)
            busy = [other for other in Stage if value(metrics, "requests_in_flight", stage=other)]
            assert busy == [stage]
        progress.enter(None)
        assert not any(value(metrics, "requests_in_flight", stage=stage) for stage in Stage)

    @pytest.mark.parametrize("fault", [RuntimeError, asyncio.CancelledError])
    def test_a_request_that_breaks_off_is_counted_and_no_longer_in_flight(
        self, fault: type[BaseException]
    ) -> None:
        metrics = Metrics()

        async def app(scope: dict[str, dict[str, Account]], *_: object) -> None:
            account = scope["state"]["account"]
            account.progress.enter(Stage.TRITON)
            account.parts, account.bytes, account.found = [PART], 1000, {"clip": 3}
            raise fault

        async def send(_: object) -> None:
            pass

        async def scene() -> None:
            scope = {"type": "http", "method": "POST", "path": "/predict"}
            await RequestLog(app, metrics, Faults())(scope, None, send)  # type: ignore[arg-type]

        with suppress(asyncio.CancelledError):
            play(scene())
        assert value(metrics, "requests_in_flight", stage="triton") == 0
        assert value(metrics, "received_bytes_total") == 1000
        assert value(metrics, "found_total", task="clip") == 3
        status = "500" if fault is RuntimeError else "499"
        assert value(metrics, "requests_total", task="clip", model=UNKNOWN, status=status) == 1


class TestModels:
    async def test_loads_heals_and_unloads_are_counted(self) -> None:
        metrics = Metrics()

        registry = Registry(cast("Triton", FakeTriton()), cast("Preparation", FakePreparation()), metrics)
        first = await registry.get(PART)
        assert value(metrics, "model_loaded", **LABELS, device="cpu") == 1
        second = await registry.heal(PART, first, "m.visual.step")
        await registry.heal(PART, first, "m.visual.step")  # noticed by another request, later
        await registry.reload(PART, second)
        await registry.unload_idle(-1, ())
        assert value(metrics, "heals_total", **LABELS) == 1
        assert value(metrics, "reloads_total", **LABELS) == 1
        assert value(metrics, "load_seconds_count", **LABELS) == 3
        assert value(metrics, "unload_seconds_count", **LABELS) == 1
        assert value(metrics, "model_loaded", **LABELS, device="cpu") is None

    async def test_a_model_that_cannot_be_had_is_a_failure_without_its_name(self) -> None:
        metrics, preparation = Metrics(), FakePreparation()
        preparation.faults = [ModelUnavailable("no network"), ModelRefused("no encoder")]

        with pytest.raises(ModelRefused):
            await Registry(cast("Triton", FakeTriton()), cast("Preparation", preparation), metrics).get(PART)
        assert value(metrics, "load_failures_total") == 2
        assert value(metrics, "load_seconds_count", **LABELS) is None

    def test_a_triton_that_was_restarted_has_nothing_loaded(self) -> None:
        metrics = Metrics()
        metrics.load_ended(PART, "cpu", 1.5)
        metrics.triton_restarted()
        assert value(metrics, "triton_restarts_total") == 1
        assert value(metrics, "model_loaded", **LABELS, device="cpu") is None


class TestExposed:
    def test_prometheus_is_answered_on_its_own_address_until_the_end(self) -> None:
        port = free_port()

        async def scene() -> bytes:
            async with exposed(Metrics(), ("127.0.0.1", port)):
                content = await asyncio.to_thread(_scrape, port)
            with pytest.raises(OSError, match="refused"):
                _scrape(port)
            return content

        content = asyncio.run(scene()).decode()
        assert "# TYPE immich_triton_requests_total counter" in content
        assert "process_resident_memory_bytes" in content

    def test_an_address_that_is_taken_is_named(self) -> None:
        port = free_port()

        async def scene() -> None:
            async with exposed(Metrics(), ("127.0.0.1", port)), exposed(Metrics(), ("127.0.0.1", port)):
                pass

        with pytest.raises(SetupError, match=f"127.0.0.1 port {port}: it is taken"):
            asyncio.run(scene())


def _scrape(port: int) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return cast("bytes", answer.read())


def test_the_page_of_metrics_names_every_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    names = [
        family.name for family in Metrics().registry.collect() if family.name.startswith("immich_triton_")
    ]
    assert [name for name in names if f"`{name}" not in page] == []
