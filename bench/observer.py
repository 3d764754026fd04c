"""What is seen of a target during a run, beside the answers: its processes, and its Triton's counters."""

import time

import aiohttp

from bench import stages
from bench.processes import Watch
from bench.results import Process, Stage
from bench.targets import Target


class Observer:
    """Looks at a target while the window of a run is open.

    Attributes:
        duration_s: how long that was.
        processes, peak_memory_mb, stages: as in `Run`.
        driver_share: of a core, what this process itself took.
    """

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self._target, self._session = target, session
        self._watch = Watch(target.pid) if target.pid else None
        self.processes: tuple[Process, ...] = ()
        self.stages: tuple[Stage, ...] = ()
        self.duration_s = self.peak_memory_mb = self.driver_share = 0.0

    async def open(self) -> None:
        self._counters = await self._read()
        if self._watch:
            self._watch.start()
        self._started, self._driver_cpu_s = time.perf_counter(), time.process_time()

    async def close(self) -> None:
        self.duration_s = time.perf_counter() - self._started
        self.driver_share = (time.process_time() - self._driver_cpu_s) / self.duration_s
        if self._counters is not None and (counters := await self._read()) is not None:
            self.stages = stages.between(self._counters, counters)
        if self._watch:
            self.processes, self.peak_memory_mb = await self._watch.stop()

    async def _read(self) -> dict[str, stages.Counters] | None:
        """Triton's counters; None where there is no Triton, or it is being started again."""
        if self._target.triton_url is None:
            return None
        try:
            return await stages.read(self._session, self._target.triton_url)
        except aiohttp.ClientError:
            return None
