"""What a benchmark finds, as data: made by the runs, read by the table, the JSON file and the HTML report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SERVED = "served"
"""The target under test; the others are its baselines."""


@dataclass(frozen=True)
class Scenario:
    """A load: closed loops of requests, so many of each kind at a time.

    Attributes:
        name: such as `pictures at 16`.
        workers: kind of request (`picture`, `group`, `page`, `text`) → how many are in flight always.
        about: one sentence for the reader of the report.
    """

    name: str
    workers: Mapping[str, int]
    about: str = ""


@dataclass(frozen=True)
class Latency:
    """What the requests of one kind saw during one run.

    Attributes:
        answered: requests answered rightly.
        failed: those that failed or were answered otherwise than alone; `faults` says how, a few of them.
        per_second: answered requests by the time from the first answer to the last; see `bench/load.py`.
    """

    answered: int
    failed: int
    per_second: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A Triton model during one run, from its own statistics. Times are of one inference, on average."""

    model: str
    inferences: int
    executions: int
    queue_ms: float
    compute_ms: float

    @property
    def mean_batch(self) -> float:
        return self.inferences / self.executions if self.executions else 0.0


@dataclass(frozen=True)
class Process:
    """A process of the target during one run.

    Attributes:
        name: what it is: `adapter`, `tritonserver`, or the Triton model that a stub runs.
        memory_mb: its proportional share of memory (PSS) at the run's end, in 10^6 bytes; so they can be added up.
        cpu_s: processor time that it took during the run.
    """

    name: str
    memory_mb: float
    cpu_s: float


@dataclass(frozen=True)
class Run:
    """One target under one scenario for some seconds. `round` counts from 1.

    Attributes:
        duration_s: how long processes and stages were watched.
        peak_memory_mb: the largest sum of all processes' PSS that was seen; 0 where it cannot be seen.
        processes, stages: empty where they cannot be seen, as with another host.
    """

    target: str
    scenario: str
    round: int
    duration_s: float
    kinds: Mapping[str, Latency]
    peak_memory_mb: float = 0.0
    processes: tuple[Process, ...] = ()
    stages: tuple[Stage, ...] = ()

    @property
    def requests(self) -> int:
        return sum(latency.answered + latency.failed for latency in self.kinds.values())

    @property
    def cpu_s_per_request(self) -> float:
        """Processor seconds of all the target's processes, by the requests that it answered in that time."""
        answered = self.duration_s * sum(latency.per_second for latency in self.kinds.values())
        return sum(process.cpu_s for process in self.processes) / answered if answered else 0.0


@dataclass(frozen=True)
class Difference:
    """How far the answers of a baseline are from those of the service, for one kind of request.

    Attributes:
        compared: requests that both answered.
        equal: those whose answers agree within the tolerances of the golden cases.
        worst: the furthest, in words: `cosine 0.99998`, `box 0.3 px`, `text "a" for "b"`.
    """

    baseline: str
    kind: str
    compared: int
    equal: int
    worst: str


@dataclass(frozen=True)
class Report:
    """A whole benchmark.

    Attributes:
        command: the command line that makes it again.
        started: ISO 8601, with the time zone.
        host: facts about the host and the versions: `CPU` → `Xeon …`, `cores` → `2`.
        models: task → model name → which graphs, in MB on disk.
        resting_memory: processes of the service, loaded and at rest.
    """

    command: str
    started: str
    host: Mapping[str, str]
    models: Mapping[str, str]
    scenarios: tuple[Scenario, ...]
    runs: tuple[Run, ...]
    differences: tuple[Difference, ...] = ()
    resting_memory: tuple[Process, ...] = ()
    graphs_mb: float = 0.0
    notes: tuple[str, ...] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
