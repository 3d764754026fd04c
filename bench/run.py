"""A whole benchmark: every scenario on every target in turn, round by round, and what was found."""

import asyncio
import platform
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapter import settings
from adapter.compare import workload as requests
from adapter.compare.client import connect, shown
from adapter.compare.differences import differ
from adapter.compare.load import Figures, Load
from adapter.compare.memory import processes_of
from adapter.compare.verdicts import Answers
from adapter.compare.workload import Kind, Models, Workload
from adapter.errors import SetupError
from adapter.protocol import Part, parse_entries
from bench import scenes
from bench.inprocess import CORES, InProcess, read_configs
from bench.processes import Usage, Watch, memory_of
from bench.scenarios import Scenario, kinds_of
from bench.standins import STANDINS, build_standins
from demo import child_service
from demo.child_service import ChildService

SERVED, IN_PROCESS = "served", "in-process"
START_TIMEOUT_S = 1800
"""Models of full size are prepared before the service is ready."""
REST_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What is to be measured: the service at `url` (None: one of its own), and what it is compared with."""

    models: Models
    scenarios: Sequence[Scenario]
    duration_s: float
    rounds: int
    url: str | None
    baselines: Sequence[str]
    pictures: Path | None


@dataclass(frozen=True)
class Target:
    """Something that answers requests; `url` is None where it runs in this process."""

    name: str
    load: Load
    url: str | None


@dataclass(frozen=True)
class Run:
    """One target under one scenario. `usage` is None where its processes cannot be seen."""

    target: str
    scenario: str
    figures: Mapping[Kind, Figures]
    usage: Usage | None

    @property
    def cpu_s_per_request(self) -> float | None:
        answered = sum(one.answered for one in self.figures.values())
        return self.usage.cpu_s / answered if self.usage and answered else None


@dataclass
class Report:
    """What was found: runs in their order, and by baseline how its answers differ from the service's."""

    scenarios: Sequence[Scenario]
    runs: list[Run] = field(default_factory=list)
    answers: dict[str, list[Answers]] = field(default_factory=dict)
    at_rest_mb: dict[str, float] = field(default_factory=dict)

    def of(self, target: str, scenario: Scenario) -> list[Run]:
        """The rounds of a scenario on a target."""
        return [run for run in self.runs if (run.target, run.scenario) == (target, scenario.name)]

    def as_json(self) -> dict[str, Any]:
        answers = {name: [one.as_json() for one in found] for name, found in self.answers.items()}
        host = {"machine": platform.platform(), "cores": CORES}
        return {**asdict(self), "answers": answers, "host": host}


async def benchmark(plan: Plan, console: Console) -> Report:
    """Measures what is planned.

    Raises:
        SetupError: the service or a baseline cannot be started, or does not answer.
    """
    pictures = scenes.choose(plan.pictures)
    workload = requests.build(kinds_of(plan.scenarios), plan.models, pictures)
    report = Report(plan.scenarios)
    async with _targets(plan, workload, console) as targets:
        with console.status("asking for each answer alone ..."):
            served, *others = [await target.load.learn() for target in targets]
        for target, answers in zip(targets[1:], others, strict=True):
            report.answers[target.name] = list(_compared(workload, served, answers))
        await asyncio.sleep(REST_S)
        report.at_rest_mb = memory_of(processes_of(targets[0].url or ""))
        await _run_all(targets, plan, report, console)
    return report


@asynccontextmanager
async def _targets(plan: Plan, workload: Workload, console: Console) -> AsyncIterator[list[Target]]:
    """The service, and then its baselines."""
    async with AsyncExitStack() as stack:
        child = None if plan.url else await stack.enter_async_context(_service(plan, workload, console))
        urls = {name: name for name in plan.baselines if name != IN_PROCESS}
        urls = {SERVED: child.url if child else plan.url or ""} | {shown(url): url for url in urls}
        services = await stack.enter_async_context(connect(*urls.values()))
        targets = [
            Target(name, Load(service.answer, workload), service.url)
            for name, service in zip(urls, services, strict=True)
        ]
        if IN_PROCESS in plan.baselines:
            if child is None:
                raise SetupError(
                    "The in-process baseline needs a service that is started here: leave out --url."
                )
            with console.status("loading the models into this process ..."):
                configs = await read_configs(child.triton_url, parts_of(workload))
                limit = InProcess(settings.load().repository, configs, workload)
            targets.insert(1, Target(IN_PROCESS, limit, None))
        yield targets


@asynccontextmanager
async def _service(plan: Plan, workload: Workload, console: Console) -> AsyncIterator[ChildService]:
    """A service of its own, with every model loaded for good."""
    if any(standin.name in plan.models.values() for standin in STANDINS):
        build_standins(settings.load().models, console.print)
    variables = {preload_variable(part): part.name for part in parts_of(workload)}
    variables |= {"MACHINE_LEARNING_MODEL_TTL": "0", "IMMICH_LOG_LEVEL": "warning"}
    async with AsyncExitStack() as stack:
        with console.status("starting the service; models are prepared once, which takes minutes ..."):
            child = await stack.enter_async_context(child_service.start(variables, START_TIMEOUT_S))
        yield child


def parts_of(workload: Workload) -> list[Part]:
    """The parts that answer a workload."""
    tasks = [types for kind in workload.values() for types in parse_entries(kind[0].entries).values()]
    return list(dict.fromkeys(entry.part for types in tasks for entry in types.values()))


def preload_variable(part: Part) -> str:
    """The setting that has a part loaded at start."""
    return f"MACHINE_LEARNING_PRELOAD__{part.task.replace('-', '_')}__{part.type}".upper()


def _compared(
    workload: Workload, served: Mapping[str, bytes], others: Mapping[str, bytes]
) -> Iterator[Answers]:
    for kind, sent in workload.items():
        found = Answers(kind)
        for request in sent:
            found.add(request.name, differ(others[request.name], served[request.name]))
        yield found


async def _run_all(targets: Sequence[Target], plan: Plan, report: Report, console: Console) -> None:
    """Every scenario on every target in turn; the order of the targets is swapped every round."""
    turns = [
        (target, scenario, number)
        for number in range(plan.rounds)
        for scenario in plan.scenarios
        for target in (targets[::-1] if number % 2 else targets)
    ]
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(turns))
        for target, scenario, number in turns:
            progress.update(bar, description=f"{scenario.name}, {target.name}, round {number + 1}")
            watch = Watch(processes_of(target.url or ""))
            figures = await target.load.run(scenario.loops, plan.duration_s, watch.open, watch.close)
            report.runs.append(Run(target.name, scenario.name, figures, watch.usage))
            progress.advance(bar)
