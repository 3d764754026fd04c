"""What the service counts and times, for Prometheus. One object a service; nothing is kept at module level."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from adapter.errors import SetupError
from adapter.protocol import Part

BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 280)
"""From a text search on a GPU to the deadline."""

UNKNOWN = "unknown"
"""Label of a task or model that a request named and that nothing was ever served for."""


class Stage(StrEnum):
    """Where a request is, in this order; the first two in turn."""

    READ = "read"
    WAIT = "wait"  # for room in memory, the rest of it unread
    TRITON = "triton"  # at the models; also while they are loaded, healed or started again
    ENCODE = "encode"


class Metrics:
    """Every metric of the service. Names and labels are the interface: docs/monitoring.md lists them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._served: set[str] = set()
        self._make_request_metrics()
        self._make_model_metrics()
        ProcessCollector(registry=self.registry)

    def _make_request_metrics(self) -> None:
        self.requests = self._counter(
            "requests",
            "Predictions answered; those of several tasks count for each.",
            "task",
            "model",
            "status",
        )
        self.request_seconds = self._histogram("request_seconds", "From a request to its answer.", "task")
        self.stage_seconds = self._histogram("stage_seconds", "Parts of that time.", "task", "stage")
        in_flight = self._gauge("requests_in_flight", "Predictions under way, by where they are.", "stage")
        self.in_flight = {stage: in_flight.labels(stage) for stage in Stage}
        self.received_bytes = self._counter("received_bytes", "Request bodies read.")
        self.found = self._counter("found", "Faces or lines of text found.", "task")
        self.refusals = self._counter("refusals", "Requests turned away by network or path.", "reason")
        for reason in ("network", "path"):
            self.refusals.labels(reason)

    def _make_model_metrics(self) -> None:
        self.ready = self._gauge("ready", "1 while /ping says pong.")
        self.loaded = self._gauge(
            "model_loaded",
            "1 for each part of a model that is loaded, by what it runs on.",
            "model",
            "type",
            "device",
        )
        self.load_seconds = self._histogram("load_seconds", "Preparing and loading.", "model", "type")
        self.load_failures = self._counter("load_failures", "Models that could not be had or loaded.")
        self.unload_seconds = self._histogram("unload_seconds", "Unloading what is idle.", "model", "type")
        self.heals = self._counter("heals", "Dead processes of models brought back.", "model", "type")
        self.reloads = self._counter("reloads", "Models that Triton had lost.", "model", "type")
        self.resent = self._counter("resent", "Inferences sent again because Triton broke.", "model", "type")
        self.triton_restarts = self._counter(
            "triton_restarts", "Times that the embedded Triton ended by itself."
        )
        self.downloads = self._counter("downloads", "Model downloads that ended: ok or failed.", "result")
        for result in ("ok", "failed"):
            self.downloads.labels(result)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"immich_triton_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"immich_triton_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"immich_triton_{name}", text, labels, registry=self.registry, buckets=BUCKETS_S)

    def answered(self, parts: Collection[Part], status: int, progress: "Progress") -> None:
        """Counts a prediction. A model's name becomes a label once it was served, so that labels are bounded."""
        if status == 200:
            self._served.update(part.name for part in parts)
        names = {(str(part.task), part.name if part.name in self._served else UNKNOWN) for part in parts}
        for task, model in names or {(UNKNOWN, UNKNOWN)}:
            self.requests.labels(task, model, status).inc()
        for task in {task for task, _ in names} or {UNKNOWN}:
            self.request_seconds.labels(task).observe(progress.total_s)
            for stage, seconds in progress.stages_s.items():
                self.stage_seconds.labels(task, stage).observe(seconds)

    def received(self, size: int, found: Mapping[str, int]) -> None:
        """Counts what a prediction brought, and what was found in it by each task."""
        self.received_bytes.inc(size)
        for task, count in found.items():
            self.found.labels(task).inc(count)

    def load_ended(self, part: Part, device: str, seconds: float) -> None:
        self.load_seconds.labels(part.name, part.type).observe(seconds)
        self.loaded.labels(part.name, part.type, device).set(1)
        for counter in (self.heals, self.reloads, self.resent):  # from 0, or the first would be no increase
            counter.labels(part.name, part.type)

    def unload_ended(self, part: Part, device: str, seconds: float) -> None:
        self.unload_seconds.labels(part.name, part.type).observe(seconds)
        self.loaded.remove(part.name, part.type, device)

    def triton_restarted(self) -> None:
        """A Triton that was started again has nothing loaded."""
        self.triton_restarts.inc()
        self.loaded.clear()


class Progress:
    """Where one request is, and how long it was in each stage."""

    def __init__(self, in_flight: Mapping[Stage, Gauge]) -> None:
        self._in_flight = in_flight
        self.stage: Stage | None = None
        self._since = time.monotonic()
        self.stages_s: dict[Stage, float] = {}

    @property
    def total_s(self) -> float:
        return sum(self.stages_s.values())

    def enter(self, stage: Stage | None) -> None:
        """Leaves the stage that it is in for another; for none, at the end."""
        now = time.monotonic()
        if self.stage:
            self.stages_s[self.stage] = self.stages_s.get(self.stage, 0.0) + now - self._since
            self._in_flight[self.stage].dec()
        if stage:
            self._in_flight[stage].inc()
        self.stage, self._since = stage, now


@asynccontextmanager
async def exposed(metrics: Metrics, address: tuple[str, int] | None) -> AsyncIterator[None]:
    """Answers Prometheus on an address of its own, from a thread: a scrape neither waits for requests nor holds them.

    Raises:
        SetupError: the address is taken or not this host's.
    """
    if address is None:
        yield
        return
    host, port = address
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        reason = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
        raise SetupError(f"Cannot serve metrics on {host} port {port}: {reason}") from error
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
