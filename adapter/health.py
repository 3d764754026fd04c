"""What `/ping` answers, kept up to date beside the requests so that it never waits."""

import asyncio
import ctypes
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from adapter.checks import Finding
from adapter.errors import ServiceError
from adapter.faults import kind
from adapter.protocol import Part
from adapter.registry import Registry
from adapter.tasks import gather
from adapter.triton import Triton

log = logging.getLogger(__name__)

_C = ctypes.CDLL(None)

Look = Callable[[], Awaitable[Sequence[Finding]]]
PROBE_S = 1.0
GRACE_S = 5.0
"""Triton may be away so long, to be started again, before the service is said to be down."""
LOOK_S = 5.0
"""Between two looks at a host that lacks something."""
PRELOAD_RETRY_S = 15.0
LOADING = "is being loaded"
UNKNOWN = "the service is being started"


class Health:
    """Knows whether predictions can be served: the host has what is needed, Triton is there, and everything that is to
    be preloaded is.

    Args:
        look: finds what the host lacks.

    Attributes:
        ready: set once nothing was lacking for the first time.
        stopping: set by who stops the service.
    """

    def __init__(
        self,
        triton: Triton,
        registry: Registry,
        look: Look,
        preload: tuple[Part, ...],
        ttl_s: float,
        poll_s: float,
    ) -> None:
        self._triton, self._registry, self._look, self._preload = triton, registry, look, preload
        self._ttl_s, self._poll_s = ttl_s, poll_s
        self._host: str | None = UNKNOWN
        self._unloaded = dict.fromkeys(preload, "")
        self._last_up = -math.inf
        self._absence = UNKNOWN
        self._told: str | None = None
        self.ready = asyncio.Event()
        self.stopping = False

    @property
    def trouble(self) -> str | None:
        """Why predictions cannot be served now, or None."""
        if self.stopping:
            return "the service is being stopped"
        if self._host:
            return self._host
        if time.monotonic() - self._last_up > GRACE_S:
            return f"Triton at {self._triton.url} does not answer: {self._absence}"
        return "; ".join(self._standing(part, fault) for part, fault in self._unloaded.items()) or None

    def _standing(self, part: Part, fault: str) -> str:
        if fault:
            return f"{part} cannot be preloaded: {fault}"
        return self._registry.waits.of([part]) or f"{part} {LOADING}"

    async def watch(self) -> None:
        """Looks at the host, preloads, probes and unloads what is idle, until cancelled."""
        await gather(self._look_at_host(), self._probe(), self._load_all(), self._give_back())

    async def _look_at_host(self) -> None:
        """Once, and again while it lacks something without which nothing can be served."""
        told: Sequence[Finding] = ()
        while self._host:
            findings = await self._look()
            for finding in findings:
                if finding not in told and not finding.blocks:  # what blocks is told as the reason
                    level = logging.INFO if finding.good else logging.WARNING
                    log.log(level, "%s: %s", finding.subject, finding.message)
            told = findings
            self._host = next((f"{one.subject}: {one.message}" for one in findings if one.blocks), None)
            self._tell()
            if self._host:
                await asyncio.sleep(LOOK_S)

    async def _probe(self) -> None:
        while True:
            try:
                async with asyncio.timeout(GRACE_S):
                    self._absence = await self._triton.fault()
            except TimeoutError:
                self._absence = "it is silent"
            if not self._absence:
                self._last_up = time.monotonic()
            self._tell()
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

    async def _load(self, part: Part) -> None:
        while True:
            try:
                await self._registry.get(part)
            except Exception as error:  # the other models, and the probe, must go on
                if str(error) != self._unloaded[part]:
                    bug = None if isinstance(error, ServiceError) else error
                    log.error("cannot preload %s: %s", part, error, exc_info=bug)
                self._unloaded[part] = str(error)
                await asyncio.sleep(PRELOAD_RETRY_S)
            else:
                del self._unloaded[part]
                self._tell()
                return

    def _tell(self) -> None:
        """Says in the log when the service is ready, or why it is not."""
        if self.stopping or UNKNOWN in (self._host, self._absence):
            return
        trouble = self.trouble
        if trouble is None and not self.ready.is_set():
            self.ready.set()
        elif kind(trouble or "") != kind(self._told or ""):
            lasting = trouble and not trouble.endswith(LOADING)
            text = f"not ready: {trouble}" if trouble else "ready again"
            log.log(logging.WARNING if lasting else logging.INFO, "%s", text)
        self._told = trouble
