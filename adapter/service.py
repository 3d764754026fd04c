"""Opens everything that the routes work with, in order, and closes it in reverse."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from adapter import environment
from adapter.admission import BodyMemory
from adapter.checks import Finding, at_start
from adapter.deadlines import Deadlines
from adapter.device import settle
from adapter.embedded import EmbeddedTriton
from adapter.engine import Engine
from adapter.errors import SetupError
from adapter.faults import Faults
from adapter.health import Health
from adapter.metrics import Metrics
from adapter.preparation.door import Preparation
from adapter.registry import Registry
from adapter.setting_types import Device
from adapter.settings import Settings
from adapter.triton import Triton

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """What the routes work with."""

    settings: Settings
    preparation: Preparation
    triton: Triton
    registry: Registry
    engine: Engine
    health: Health
    memory: BodyMemory
    deadlines: Deadlines
    metrics: Metrics = field(default_factory=Metrics)
    faults: Faults = field(default_factory=Faults)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Starts Triton (or uses the one that is given) and what stands before it."""
    try:
        settings.repository.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"The state folder {settings.state} cannot be used ({error.strerror}): mend its permissions, or set "
            "another by IMMICH_TRITON_STATE_FOLDER."
        ) from error
    settings = await asyncio.to_thread(settle, settings)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        triton = Triton(await _triton_url(settings, stack, metrics), settings.deadline_s, settings.key)
        stack.push_async_callback(triton.close)
        preparation = Preparation(settings, lambda result: metrics.downloads.labels(result).inc())
        registry = Registry(triton, preparation, metrics)
        stack.push_async_callback(registry.close)
        stack.callback(preparation.close)

        async def look() -> list[Finding]:
            return await asyncio.to_thread(lambda: [*at_start(settings, preparation)])

        health = Health(
            triton, registry, look, settings.preload, settings.model_ttl_s, settings.model_ttl_poll_s
        )
        metrics.ready.set_function(lambda: health.trouble is None)
        await stack.enter_async_context(_running(health))
        yield Service(
            settings=settings,
            preparation=preparation,
            triton=triton,
            registry=registry,
            engine=Engine(triton, registry, metrics),
            health=health,
            memory=BodyMemory(settings.held_bytes),
            deadlines=Deadlines(settings.deadline_s),
            metrics=metrics,
        )


async def _triton_url(settings: Settings, stack: AsyncExitStack, metrics: Metrics) -> str:
    if settings.triton_url:
        return settings.triton_url
    return await stack.enter_async_context(_embedded(settings, metrics))


@asynccontextmanager
async def _embedded(settings: Settings, metrics: Metrics) -> AsyncIterator[str]:
    triton = EmbeddedTriton(
        settings.repository,
        environment.child_environment(),
        settings.triton_port,
        settings.triton_metrics_port,
        metrics.triton_restarted,
        gpu=settings.preparation.device is Device.GPU,
    )
    log.info("starting Triton ...")
    try:
        await triton.start()
        yield triton.url
    finally:
        log.info("stopping Triton ...")
        await triton.stop()


@asynccontextmanager
async def _running(health: Health) -> AsyncIterator[None]:
    task = asyncio.create_task(health.watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
