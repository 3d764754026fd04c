"""A whole benchmark: a service with every model loaded, beside the same graphs in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.table import Table

from adapter import settings
from adapter.compare import processes
from adapter.compare.client import connect
from adapter.compare.comparison import Comparison, Plan, compare
from adapter.compare.load import Loops
from adapter.compare.table import columns, number, progress, render
from adapter.compare.workload import Kind, Workload
from adapter.protocol import Part, parse_entries
from bench import standins
from bench.inprocess import InProcess, read_configs
from demo import child_service

SEARCH: Loops = {Kind.PICTURES: 4, Kind.GROUPS: 3, Kind.PAGES: 1, Kind.TEXTS: 1}
"""Eight indexing requests are always in flight, and someone searches."""
START_TIMEOUT_S = 1800
"""Models of full size are prepared before the service is ready."""


@dataclass(frozen=True)
class Report:
    """What was found; memory by process, when no request was sent yet and when all were answered."""

    comparison: Comparison
    at_rest_mb: Mapping[str, float]
    after_loads_mb: Mapping[str, float]

    def shown(self) -> Group:
        return Group(render(self.comparison), self._memory())

    def _memory(self) -> Table:
        table = columns("memory of the service (PSS), MB", "process", "at rest", "after the loads")
        for name in sorted(self.after_loads_mb, key=lambda name: -self.after_loads_mb[name]):
            table.add_row(name, number(self.at_rest_mb.get(name)), number(self.after_loads_mb[name]))
        table.add_row("all", *(number(sum(mb.values())) for mb in (self.at_rest_mb, self.after_loads_mb)))
        return table


async def measure(plan: Plan) -> Report:
    """Measures what is planned.

    Raises:
        SetupError: the service cannot be started, or does not answer.
    """
    console, chosen, parts = Console(stderr=True), settings.load(), parts_of(plan.workload)
    standins.build(chosen.models, {part.name for part in parts}, console.print)
    console.print("starting the service; models are prepared once, which takes minutes ...")
    variables = {**preload(parts), "IMMICH_LOG_LEVEL": "warning"}
    async with child_service.start(variables, START_TIMEOUT_S) as child, connect(child.url) as (served,):
        limit = InProcess(chosen.repository, await read_configs(child.triton_url, parts))
        at_rest = processes.memory_mb(child.url)
        with progress(plan.steps) as done:
            found = await compare(served, limit, plan, done)
        return Report(found, at_rest, processes.memory_mb(child.url))


def parts_of(workload: Workload) -> list[Part]:
    """The parts that answer a workload."""
    tasks = [types for kind in workload.values() for types in parse_entries(kind[0].entries).values()]
    return list(dict.fromkeys(entry.part for types in tasks for entry in types.values()))


def preload(parts: Sequence[Part]) -> dict[str, str]:
    """The settings that have the parts loaded at start, for good."""
    task_and_type = (f"{part.task.replace('-', '_')}__{part.type}".upper() for part in parts)
    named = (f"MACHINE_LEARNING_PRELOAD__{name}" for name in task_and_type)
    return {**dict(zip(named, (part.name for part in parts), strict=True)), "MACHINE_LEARNING_MODEL_TTL": "0"}
