"""What a benchmark is to measure, and its targets: started where they are not running yet."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console

from adapter.errors import SetupError
from adapter.protocol import Part
from adapter.settings import Settings
from bench import facts
from bench.inprocess import Config, Job
from bench.load import Timing
from bench.processes import listener
from bench.results import SERVED, Scenario
from bench.scenarios import kinds_of
from bench.standins import STANDINS, build_standins
from bench.targets import Served, Target, one_process
from bench.workloads import Kind, Models, Workload
from demo import child_service

IN_PROCESS = "in-process"
START_TIMEOUT_S = 1800
"""Models of full size are prepared when they are first used."""

_PATH_OF_URL = re.compile(r"(https?://[^/\s]+)/[^\s']*")


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        command: the command line.
        url: of a running service; without it one is started.
        triton_url: of its Triton, so that stages are seen.
        baselines: URLs, and `in-process`.
        pictures: folder of the user's own.
    """

    command: str
    models: Models
    scenarios: Sequence[Scenario]
    timing: Timing
    rounds: int
    url: str | None = None
    triton_url: str | None = None
    baselines: Sequence[str] = ()
    pictures: Path | None = None

    @property
    def kinds(self) -> list[Kind]:
        return kinds_of(self.scenarios)


class Opener:
    """Opens the targets of a plan; what was started ends with `stack`."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        workload: Workload,
        session: aiohttp.ClientSession,
        stack: AsyncExitStack,
        console: Console,
    ) -> None:
        self._plan, self._settings, self._workload = plan, settings, workload
        self._session, self._stack, self._console = session, stack, console

    async def service(self) -> Served:
        """The service under test: the one at the URL, or one of its own with every model loaded for good."""
        plan = self._plan
        if plan.url:
            return self._served(SERVED, plan.url, listener(plan.url), plan.triton_url)
        models = {plan.models.clip, plan.models.faces}
        if any(standin.name in models for standin in STANDINS):
            await asyncio.to_thread(build_standins, self._settings.models, self._console.print)
        status = "starting the service; models are prepared when they are first used, which takes minutes ..."
        with self._console.status(status):
            child = await self._stack.enter_async_context(
                child_service.start(self._variables(), START_TIMEOUT_S)
            )
        return self._served(SERVED, child.url, child.pid, self._settings.triton_url or child.triton_url)

    async def baseline(self, name: str, configs: Mapping[str, Config]) -> Target:
        """A server, or the models of `configs` in one process.

        Raises:
            SetupError: the models do not lie here.
        """
        if name != IN_PROCESS:
            return self._served(without_paths(name), name, listener(name))
        repository = self._settings.repository
        if not configs or any(not (repository / model).is_dir() for model in configs):
            raise SetupError(
                f"The in-process baseline runs what lies in {repository}, and the service runs something else: "
                "leave out --url, or say --triton-url and --state of a service on this host."
            )
        pictures = str(self._plan.pictures.absolute()) if self._plan.pictures else None
        job = Job(str(repository), configs, self._plan.models, tuple(self._plan.kinds), pictures)
        with self._console.status("loading the models into one process ..."):
            return await self._stack.enter_async_context(one_process(IN_PROCESS, job))

    def _served(self, name: str, url: str, pid: int | None, triton_url: str | None = None) -> Served:
        return Served(name, url, self._session, self._workload, pid=pid, triton_url=triton_url)

    def _variables(self) -> dict[str, str]:
        preloaded = {preload_variable(part): part.name for part in facts.parts_of(self._workload)}
        return {
            **preloaded,
            "MACHINE_LEARNING_MODEL_TTL": "0",
            "MACHINE_LEARNING_CACHE_FOLDER": str(self._settings.models),
            "IMMICH_TRITON_STATE_FOLDER": str(self._settings.state),
            "IMMICH_LOG_LEVEL": "warning",
        }


def preload_variable(part: Part) -> str:
    """The setting that has a part loaded at start."""
    return f"MACHINE_LEARNING_PRELOAD__{part.task.replace('-', '_')}__{part.type}".upper()


def without_paths(text: str) -> str:
    """A text without the paths of the URLs in it, which may be secret."""
    return _PATH_OF_URL.sub(r"\1", text)
