"""Opens everything that the routes work with, in order, and closes it in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from adapter import settings as environment
from adapter.admission import BodyMemory
from adapter.embedded import EmbeddedTriton
from adapter.engine import Engine
from adapter.errors import SetupError
from adapter.health import Health
from adapter.metrics import Metrics
from adapter.preparation.catalog import Catalog, is_known
from adapter.preparation.fetch.download import Downloads
from adapter.preparation.repository import Preferences, Prepared
from adapter.preparation.worker import prepare_apart
from adapter.protocol import Part, TaskName, TypeName
from adapter.registry import Registry
from adapter.settings import Device, Settings
from adapter.triton import Triton
from demo.models import build_demo_models


@dataclass(frozen=True)
class Service:
    """What the routes work with."""

    settings: Settings
    catalog: Catalog
    triton: Triton
    registry: Registry
    engine: Engine
    health: Health
    memory: BodyMemory
    metrics: Metrics = field(default_factory=Metrics)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Starts Triton (or uses the one that is given) and what stands before it."""
    settings.repository.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(build_demo_models, settings.demo_models)
    catalog = Catalog(settings.models, settings.demo_models)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        triton = Triton(await _triton_url(settings, stack, metrics), settings.deadline_s, settings.key)
        stack.push_async_callback(triton.close)
        downloads = Downloads(settings.models, ended=lambda result: metrics.downloads.labels(result).inc())
        registry = Registry(triton, lambda part: prepare_part(part, catalog, downloads, settings), metrics)
        stack.push_async_callback(registry.close)
        stack.callback(downloads.close)
        health = Health(triton, registry, _preload(settings), settings.model_ttl_s, settings.model_ttl_poll_s)
        metrics.ready.set_function(lambda: health.trouble is None)
        await stack.enter_async_context(_running(health))
        yield Service(
            settings=settings,
            catalog=catalog,
            triton=triton,
            registry=registry,
            engine=Engine(triton, registry, metrics),
            health=health,
            memory=BodyMemory(settings.held_bytes),
            metrics=metrics,
        )


async def prepare_part(part: Part, catalog: Catalog, downloads: Downloads, settings: Settings) -> Prepared:
    """Fetches a part where it is missing, and writes its Triton folders where that is not done yet."""
    preferences = Preferences(
        clip_resize=settings.clip_resize,
        max_pixels=settings.max_pixels,
        max_batch_size_faces=settings.max_batch_size_faces,
        intra_op_threads=settings.intra_op_threads,
        inter_op_threads=settings.inter_op_threads,
        device=settings.device,
        gpu_instances=settings.gpu_instances,
        gpu_memory_mib=settings.gpu_memory_mib,
        precision=settings.precision,
    )
    source = await downloads.obtain(part) if is_known(part) else catalog.locate(part)
    return await prepare_apart(part, source, settings.repository, preferences)


def _preload(settings: Settings) -> tuple[Part, ...]:
    names = {
        (TaskName.CLIP, TypeName.VISUAL): settings.preload_clip_visual,
        (TaskName.CLIP, TypeName.TEXTUAL): settings.preload_clip_textual,
        (TaskName.FACES, TypeName.DETECTION): settings.preload_face_detection,
        (TaskName.FACES, TypeName.RECOGNITION): settings.preload_face_recognition,
        (TaskName.OCR, TypeName.DETECTION): settings.preload_ocr_detection,
        (TaskName.OCR, TypeName.RECOGNITION): settings.preload_ocr_recognition,
    }
    return tuple(Part(task, kind, name) for (task, kind), listed in names.items() for name in listed)


async def _triton_url(settings: Settings, stack: AsyncExitStack, metrics: Metrics) -> str:
    if settings.triton_url:
        return settings.triton_url
    if settings.device == Device.GPU:
        raise SetupError(
            "IMMICH_TRITON_DEVICE=gpu needs NVIDIA's Triton container, as IMMICH_TRITON_URL: "
            "the embedded Triton runs on the CPU. See docs/deployment.md."
        )
    return await stack.enter_async_context(_embedded(settings, metrics))


@asynccontextmanager
async def _embedded(settings: Settings, metrics: Metrics) -> AsyncIterator[str]:
    triton = EmbeddedTriton(
        settings.repository,
        environment.child_environment(),
        settings.triton_port,
        settings.triton_metrics_port,
        metrics.triton_restarted,
    )
    try:
        await triton.start()
        yield triton.url
    finally:
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
