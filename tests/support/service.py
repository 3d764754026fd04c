"""A service over an engine that answers at once, or when it is told."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from adapter.admission import BodyMemory
from adapter.deadlines import Deadlines
from adapter.engine import Engine
from adapter.health import Health
from adapter.preparation.door import Preparation
from adapter.protocol import Part
from adapter.registry import Registry
from adapter.service import Service
from adapter.settings import Settings
from adapter.triton import Arrays, Triton
from adapter.waits import Waits


class FakeEngine:
    """Answers every picture with the same vector.

    Attributes:
        fault: is raised instead.
        open: cleared, answers wait until it is set.
    """

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[tuple[Part, Arrays]] = []

    async def infer(self, part: Part, inputs: Arrays) -> Arrays:
        self.asked.append((part, inputs))
        await self.open.wait()
        if self.fault:
            raise self.fault
        return {
            "embedding": np.array([[0.25, -1.5]], np.float32),
            "image_size": np.array([[300, 451]], np.int32),
        }


class FakeHealth:
    """Well, until it is told another thing."""

    def __init__(self) -> None:
        self.stopping = False
        self.fault: str | None = None

    @property
    def trouble(self) -> str | None:
        return "stopping" if self.stopping else self.fault


def fake_service(engine: FakeEngine, health: FakeHealth, **options: Any) -> Service:
    """A service with these settings and nothing behind its engine."""
    settings = Settings(**options)
    return Service(
        settings=settings,
        preparation=cast("Preparation", None),
        triton=cast("Triton", None),
        registry=cast("Registry", SimpleNamespace(waits=Waits())),
        engine=cast("Engine", engine),
        health=cast("Health", health),
        memory=BodyMemory(settings.held_bytes),
        deadlines=Deadlines(settings.deadline_s),
    )
