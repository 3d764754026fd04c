"""A whole benchmark: every scenario on every target in turn, round by round, and the report of it."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapter.errors import SetupError
from adapter.settings import Settings
from bench import facts, workloads
from bench.checking import deviation
from bench.load import Timing
from bench.observer import Observer
from bench.opening import Opener, Plan
from bench.processes import at_rest
from bench.results import Difference, Process, Report, Run, Scenario
from bench.targets import Target, client
from bench.workloads import Workload

REST_S = 1.0
QUIET_LOAD = 0.5
"""Load average of the host up to which the figures can be trusted."""
DEAR_DRIVER = 0.1
"""Of a core: what the driver may take without being mentioned."""

Answers = Mapping[str, bytes]
Turn = tuple[Target, Scenario, int]


@dataclass
class _Findings:
    """What has been found so far."""

    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    driver_share: float = 0.0


async def benchmark(plan: Plan, settings: Settings, console: Console) -> Report:
    """Measures what is planned. Ctrl-C ends it early: what was measured until then is reported.

    Raises:
        SetupError: the service or a baseline cannot be started, or does not answer.
    """
    started, load_before = facts.now(), os.getloadavg()[0]
    with console.status("making the pictures ..."):
        workload = workloads.build(plan.models, plan.kinds, plan.pictures)
    parts = facts.parts_of(workload)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(client())
        opener = Opener(plan, settings, workload, session, stack, console)
        service = await opener.service()
        with console.status("asking the service for each answer alone ..."):
            answers = [await service.learn()]
        configs = await facts.configs(session, service.triton_url, parts) if service.triton_url else {}
        targets = [service, *[await opener.baseline(name, configs) for name in plan.baselines]]
        with console.status("asking the baselines ..."):
            answers += [await target.learn() for target in targets[1:]]
        resting_memory = await _at_rest(service)
        found = await _run_all(targets, plan, session, console)
    graphs = facts.graphs_mb(settings.repository, configs)
    return Report(
        command=plan.command,
        started=started,
        host=facts.host(),
        models=facts.models_of(parts, graphs),
        scenarios=tuple(plan.scenarios),
        runs=tuple(found.runs),
        differences=tuple(_differences(targets, answers, workload)),
        resting_memory=resting_memory,
        graphs_mb=sum(graphs.values()),
        notes=(*_notes(load_before, found.driver_share), *found.notes),
    )


async def _at_rest(service: Target) -> tuple[Process, ...]:
    if service.pid is None:
        return ()
    await asyncio.sleep(REST_S)
    return await asyncio.to_thread(at_rest, service.pid)


def _differences(
    targets: Sequence[Target], answers: Sequence[Answers], workload: Workload
) -> Iterator[Difference]:
    """Of each baseline's answers to the service's, kind by kind."""
    for target, others in zip(targets[1:], answers[1:], strict=True):
        for kind, requests in workload.items():
            found = [deviation(others[request.name], answers[0][request.name]) for request in requests]
            equal = sum(one.is_same for one in found)
            yield Difference(target.name, kind, len(found), equal, max(found).words)


async def _run_all(
    targets: Sequence[Target], plan: Plan, session: aiohttp.ClientSession, console: Console
) -> _Findings:
    """Every scenario on every target, in alternation; the order of the targets is swapped every round."""
    turns: list[Turn] = [
        (target, scenario, number + 1)
        for number in range(plan.rounds)
        for scenario in plan.scenarios
        for target in (targets[::-1] if number % 2 else targets)
    ]
    found = _Findings()
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(turns))
        try:
            for turn in turns:
                target, scenario, number = turn
                progress.update(bar, description=f"{scenario.name}, {target.name}, round {number}")
                await _run_once(turn, plan.timing, session, found)
                progress.advance(bar)
        except asyncio.CancelledError:  # Ctrl-C
            task = asyncio.current_task()
            assert task
            task.uncancel()
            found.notes.append(f"Stopped by hand after {len(found.runs)} of {len(turns)} runs.")
        except SetupError as error:
            found.notes.append(f"Stopped after {len(found.runs)} of {len(turns)} runs: {error}")
    return found


async def _run_once(turn: Turn, timing: Timing, session: aiohttp.ClientSession, found: _Findings) -> None:
    target, scenario, number = turn
    seen = Observer(target, session)
    kinds = await target.run(scenario, timing, seen.open, seen.close)
    found.driver_share = max(found.driver_share, seen.driver_share)
    found.runs.append(
        Run(
            target=target.name,
            scenario=scenario.name,
            round=number,
            duration_s=seen.duration_s,
            kinds=kinds,
            peak_memory_mb=seen.peak_memory_mb,
            processes=seen.processes,
            stages=seen.stages,
        )
    )


def _notes(load_before: float, driver_share: float) -> Iterator[str]:
    if load_before > QUIET_LOAD:
        yield f"Before the start the host's load was {load_before:.1f}: others were at work; the figures are doubtful."
    if driver_share > DEAR_DRIVER:
        yield f"The benchmark's own driver took up to {driver_share:.0%} of a core."
