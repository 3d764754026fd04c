"""Triton's own counters: what its models did during a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.results import Stage

COMPUTING = ("compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True)
class Counters:
    """Of one model since it was loaded. Times are sums over its inferences, in ns."""

    inferences: int = 0
    executions: int = 0
    queue_ns: int = 0
    compute_ns: int = 0


async def read(session: aiohttp.ClientSession, triton_url: str) -> dict[str, Counters]:
    """The counters of every loaded model.

    Raises:
        aiohttp.ClientError: Triton does not answer.
    """
    async with session.get(f"{triton_url}/v2/models/stats", raise_for_status=True) as response:
        return parse(await response.json())


def parse(statistics: Mapping[str, Any]) -> dict[str, Counters]:
    """The counters in an answer to `GET /v2/models/stats`."""
    return {model["name"]: _counters(model) for model in statistics["model_stats"]}


def between(before: Mapping[str, Counters], after: Mapping[str, Counters]) -> tuple[Stage, ...]:
    """What was done between two readings; ensembles are left out, as their steps tell more.

    A model whose counters fell was loaded anew: it is counted from nothing.
    """
    steps = [name for name in after if not any(other.startswith(f"{name}.") for other in after)]
    stages = (_stage(name, before.get(name, Counters()), after[name]) for name in sorted(steps))
    return tuple(stage for stage in stages if stage.inferences)


def _counters(model: Mapping[str, Any]) -> Counters:
    times = {name: int(entry["ns"]) for name, entry in model["inference_stats"].items()}
    return Counters(
        inferences=int(model["inference_count"]),
        executions=int(model["execution_count"]),
        queue_ns=times["queue"],
        compute_ns=sum(times[name] for name in COMPUTING),
    )


def _stage(name: str, before: Counters, after: Counters) -> Stage:
    if after.inferences < before.inferences:
        before = Counters()
    inferences = after.inferences - before.inferences
    per_ms = 1e6 * max(1, inferences)
    return Stage(
        model=name,
        inferences=inferences,
        executions=after.executions - before.executions,
        queue_ms=(after.queue_ns - before.queue_ns) / per_ms,
        compute_ms=(after.compute_ns - before.compute_ns) / per_ms,
    )
