"""Requests of every kind with the demo's models, and how each answer is judged: by that to the same request alone."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from adapter.compare import pictures, workload
from adapter.compare.client import Failed, Service
from adapter.compare.differences import differ
from adapter.compare.workload import Kind, Request
from adapter.preparation.catalog import DEMO
from demo.models.faces import draw_face

SHARES = {Kind.PICTURES: 45, Kind.TEXTS: 35, Kind.GROUPS: 15, Kind.PAGES: 5}
PAGE = ("Harbour Office", "14 March 2026"), (480, 240), 38


@cache
def everything() -> workload.Workload:
    """Requests of every kind."""
    page = pictures.preview(pictures.page(*PAGE))
    return workload.build(Kind, DEMO, {**pictures.drawn(draw_face), Kind.PAGES: {"1": page}})


def mixed(of_kinds: workload.Workload, count: int, seed: int) -> list[Request]:
    """So many of them, by chance."""
    chance = random.Random(seed)  # noqa: S311 - as everywhere here
    kinds = chance.choices([*SHARES], [*SHARES.values()], k=count)
    return [chance.choice(of_kinds[kind]) for kind in kinds]


@dataclass(frozen=True)
class Outcome:
    """What became of a request, with the reason if it was lost or its answer is another one than alone."""

    kind: Kind
    took_s: float
    lost: str | None = None
    wrong: str | None = None


@dataclass
class Judge:
    """Knows the answer to each request alone, by its name; a refusal (400) is one too."""

    alone: dict[str, bytes | str] = field(default_factory=dict)

    async def learn(self, service: Service, requests: Iterable[Request]) -> None:
        for request in requests:
            self.alone[request.name] = await _answer(service, request)

    async def ask(self, service: Service, request: Request) -> Outcome:
        started = time.perf_counter()
        answer, alone = await _answer(service, request), self.alone[request.name]
        took = time.perf_counter() - started
        if answer == alone:
            return Outcome(request.kind, took)
        if isinstance(answer, str):
            return Outcome(request.kind, took, lost=answer)
        words = differ(alone, answer).words if isinstance(alone, bytes) else [f"an answer, not {alone}"]
        return Outcome(request.kind, took, wrong=f"{request.name}: {words[0]}" if words else None)


async def _answer(service: Service, request: Request) -> bytes | str:
    try:
        return await service.answer(request)
    except Failed as error:
        return str(error)


async def ask_all(
    judge: Judge,
    service: Service,
    requests: Sequence[Request],
    concurrency: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Asks all of them, so many at a time; `say` is told how far it is."""
    left, outcomes = iter(requests), list[Outcome]()

    async def loop() -> None:
        for request in left:
            outcomes.append(await judge.ask(service, request))
            if len(outcomes) % 500 == 0:
                say(f"{len(outcomes)} of {len(requests)}")

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(loop())
    return outcomes
