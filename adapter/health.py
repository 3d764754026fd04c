"""What `/ping` answers, kept up to date beside the requests so that it never waits."""

import asyncio
import ctypes
import logging
import time

from adapter.protocol import Part
from adapter.registry import Registry
from adapter.tasks import gather
from adapter.triton import Triton

log = logging.getLogger(__name__)

_C = ctypes.CDLL(None)

PROBE_S = 1.0
GRACE_S = 5.0
"""Triton may be away so long, to be started again, before the service is said to be down."""
PRELOAD_RETRY_S = 15.0


class Health:
    """Knows whether predictions can be served: everything that is to be preloaded is, and Triton is there."""

    def __init__(
        self, triton: Triton, registry: Registry, preload: tuple[Part, ...], ttl_s: float, poll_s: float
    ) -> None:
        self._triton, self._registry, self._preload = triton, registry, preload
        self._ttl_s, self._poll_s = ttl_s, poll_s
        self._preloaded = not preload
        self._last_up = time.monotonic()
        self.stopping = False

    @property
    def trouble(self) -> str | None:
        """Why predictions cannot be served now, or None."""
        if self.stopping:
            return "the service is being stopped"
        if not self._preloaded:
            return "models are being loaded"
        if time.monotonic() - self._last_up > GRACE_S:
            return "the inference engine is down"
        return None

    async def watch(self) -> None:
        """Preloads, probes and unloads what is idle, until cancelled."""
        await gather(self._probe(), self._load_all(), self._give_back())

    async def _probe(self) -> None:
        while True:
            if await self._triton.is_up():
                self._last_up = time.monotonic()
            await asyncio.sleep(PROBE_S)

    async def _give_back(self) -> None:
        """Unloads models that are idle, and returns memory that answers of megabytes have left free."""
        while True:
            await asyncio.sleep(self._poll_s)
            if self._ttl_s > 0:
                await self._registry.unload_idle(self._ttl_s, self._preload)
            _C.malloc_trim(0)

    async def _load_all(self) -> None:
        await gather(*(self._load(part) for part in self._preload))
        self._preloaded = True

    async def _load(self, part: Part) -> None:
        while True:
            try:
                await self._registry.get(part)
            except Exception as error:  # the other models, and the probe, must go on
                log.error("cannot preload %s: %s; trying again in %g s", part, error, PRELOAD_RETRY_S)
                await asyncio.sleep(PRELOAD_RETRY_S)
            else:
                return
