"""Which models are loaded. Whoever needs one asks here; the first to ask starts the work, all others wait for it."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.metrics import Metrics
from adapter.preparation.door import Preparation, Prepared
from adapter.protocol import Part
from adapter.triton import Gone, NotLoaded, Triton, TritonError
from adapter.waits import Waits, pauses_s

log = logging.getLogger(__name__)

RETRY_S = 0.5
REFUSED_S = 60.0
"""How long a model that cannot be served is not looked at again."""


@dataclass
class _Usage:
    """How many requests are at a part, when the last one left, and when its last load began."""

    users: int = 0
    waiting: int = 0
    last_used: float = field(default_factory=time.monotonic)
    load_began: float = 0.0


@dataclass(frozen=True)
class Standing:
    """How a part stands.

    Attributes:
        users: requests that are at it, or wait for it.
        since_s: how long it is being loaded; or how long nobody has used it.
        prepared: what is loaded, once it is.
        fault: why it is not looked at again for some time.
        waits_for: what has to pass before it can be loaded.
    """

    part: Part
    users: int
    since_s: float
    prepared: Prepared | None = None
    fault: BaseException | None = None
    waits_for: str = ""


class Registry:
    """Loads each part once, and again when Triton lost it."""

    def __init__(self, triton: Triton, preparation: Preparation, metrics: Metrics | None = None) -> None:
        self._triton = triton
        self._preparation = preparation
        self._metrics = metrics or Metrics()
        self._loads: dict[Part, asyncio.Task[Prepared]] = {}
        self._unloads: dict[Part, asyncio.Task[None]] = {}
        self._usage: dict[Part, _Usage] = defaultdict(_Usage)
        self.waits = Waits()

    @asynccontextmanager
    async def use(self, part: Part) -> AsyncIterator[Prepared]:
        """`get`, and the part is not unloaded while the block runs."""
        usage = self._usage[part]
        usage.users += 1
        try:
            yield await self.get(part)
        finally:
            usage.users -= 1
            usage.last_used = time.monotonic()

    async def get(self, part: Part) -> Prepared:
        """Waits until the part is loaded, and starts that where nobody has.

        Raises:
            ModelRefused: it cannot be had or loaded before somebody changes something.
        """
        task = self._loads.get(part) or self._start(part, self._load_first(part))
        usage = self._usage[part]
        usage.waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            usage.waiting -= 1

    async def reload(self, part: Part, lost: Prepared) -> Prepared:
        """Loads a part that Triton says it does not have; once, however many requests notice."""
        if self._is_current(part, lost):
            log.warning("Triton has lost %s; loading it again", part)
            self._metrics.reloads.labels(part.name, part.type).inc()
            self._start(part, self._load_again(part))
        return await self.get(part)

    async def heal(self, part: Part, ill: Prepared, dead_model: str) -> Prepared:
        """Brings back a model whose Python process is dead; once, however many requests notice."""
        if self._is_current(part, ill):
            log.warning("the Python process of %s is dead; loading it again", dead_model)
            self._metrics.heals.labels(part.name, part.type).inc()
            self._start(part, self._replace(part, dead_model))
        return await self.get(part)

    def standings(self) -> list[Standing]:
        """Of all parts that are loaded, being loaded or refused."""
        return [self._standing(part, task) for part, task in self._loads.items()]

    def _standing(self, part: Part, load: asyncio.Task[Prepared]) -> Standing:
        usage, now = self._usage[part], time.monotonic()
        if not load.done():
            return Standing(part, usage.users, now - usage.load_began, waits_for=self.waits.reason(part))
        if fault := load.exception():
            return Standing(part, usage.users, now - usage.last_used, fault=fault)
        return Standing(part, usage.users, now - usage.last_used, load.result())

    async def unload_idle(self, ttl_s: float, keep: Collection[Part]) -> None:
        """Unloads what nobody has used for some time.

        Args:
            ttl_s: seconds since the last use.
            keep: parts that stay loaded.
        """
        for part, task in list(self._loads.items()):
            usage = self._usage[part]
            idle = not usage.users and time.monotonic() - usage.last_used > ttl_s
            if idle and part not in keep and task.done() and not task.exception():
                del self._loads[part]
                self._unloads[part] = asyncio.create_task(self._unload(part, task.result()))
        await asyncio.gather(*self._unloads.values())

    async def close(self) -> None:
        tasks = [*self._loads.values(), *self._unloads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, part: Part, work: Coroutine[Any, Any, Prepared]) -> asyncio.Task[Prepared]:
        task = asyncio.create_task(work, name=f"load {part}")
        self._loads[part] = task
        started = self._usage[part].load_began = time.monotonic()
        task.add_done_callback(lambda done: self._ended(part, time.monotonic() - started, done))
        return task

    def _ended(self, part: Part, seconds: float, task: asyncio.Task[Prepared]) -> None:
        """Counts a load, and forgets one that failed, so that the next request tries again."""
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and not error:
            self._metrics.load_ended(part, task.result().device, seconds)
            return
        if isinstance(error, ModelUnavailable):
            self._metrics.load_failures.inc()
        if self._loads.get(part) is not task:
            return
        if isinstance(error, ModelRefused):  # for some time: trying again is dear, and would end the same
            asyncio.get_running_loop().call_later(REFUSED_S, self._loads.pop, part, None)
        else:
            del self._loads[part]

    def _is_current(self, part: Part, prepared: Prepared) -> bool:
        """False when somebody has begun or finished another load since `prepared` was handed out."""
        task = self._loads.get(part)
        return task is not None and task.done() and not task.exception() and task.result() is prepared

    async def _load_first(self, part: Part) -> Prepared:
        if unloading := self._unloads.get(part):
            await asyncio.wait([unloading])
        started = time.monotonic()
        prepared = await self._bring(part)
        for note in prepared.notes:
            log.info("%s: %s", part, note)
        took_s = time.monotonic() - started
        device = prepared.device.upper()
        log.info(
            "%s, revision %s, is loaded on the %s, after %.1f s", part, prepared.revision, device, took_s
        )
        return prepared

    async def _load_again(self, part: Part) -> Prepared:
        prepared = await self._bring(part)
        log.info("%s is loaded again", part)
        return prepared

    async def _bring(self, part: Part) -> Prepared:
        """Prepares and loads a part. Trouble that may pass is waited for as long as anybody waits for the part."""
        pauses = pauses_s()
        try:
            while True:
                try:
                    prepared = await self._preparation.ensure(part)
                    await self._load(part, prepared)
                except ModelUnavailable as error:
                    if not (error.passing and self._usage[part].waiting):
                        raise
                    self._metrics.load_failures.inc()
                    await self.waits.pause(part, str(error), next(pauses))
                else:
                    return prepared
        finally:
            self.waits.end(part)

    async def _replace(self, part: Part, dead_model: str) -> Prepared:
        try:
            with suppress(Gone, NotLoaded):
                await self._triton.unload(dead_model)
        except TritonError as error:
            raise ModelUnavailable(f"Triton cannot unload {dead_model}: {error}") from error
        return await self._load_again(part)

    async def _unload(self, part: Part, prepared: Prepared) -> None:
        started = time.monotonic()
        try:
            for model in reversed(prepared.folders):
                await self._triton.unload(model)
            log.info("%s is unloaded: nobody has used it for some time", part)
        except TritonError as error:  # Triton is down: then it is unloaded too
            log.debug("unloading %s: %s", part, error)
        finally:
            self._metrics.unload_ended(part, prepared.device, time.monotonic() - started)
            del self._unloads[part]

    async def _load(self, part: Part, prepared: Prepared) -> None:
        """Loads the steps one by one (an ensemble's load does not bring back a lost step), the public model last."""
        while True:
            try:
                for model in prepared.folders:
                    await self._triton.load(model)
            except Gone as error:
                await self.waits.pause(part, f"Triton does not answer: {error}", RETRY_S)
            except TritonError as error:
                raise ModelUnavailable(f"Triton cannot load {part}: {error}") from error
            else:
                return
