"""What a report says, computed from its runs: medians over the rounds, and ratios taken within each round.

The median of three rounds passes over one in which something else ran. A ratio compares what ran one after the other,
so that a host that is slower in one round slows both; its median is not the ratio of two medians.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.results import SERVED, Latency, Process, Report, Run, Scenario, Stage

AT_REST = "at rest"
ALLOWED_MB = 800
"""Besides twice the graphs: the aim for the memory of the whole stack."""


@dataclass(frozen=True)
class Figures:
    """One target and one kind of request in a scenario: medians over the rounds, but for sums and faults.

    Attributes:
        answered, failed: of all rounds.
        faults: different ones, a few of each round.
    """

    target: str
    kind: str
    answered: int
    failed: int
    per_second: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The service beside a baseline, for one kind of request in a scenario.

    Attributes:
        ratios: throughput of the service by that of the baseline, of each round.
        p50_differences_ms: how much longer a request takes with the service, of each round.
    """

    baseline: str
    kind: str
    ratios: tuple[float, ...]
    p50_differences_ms: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def p50_difference_ms(self) -> float:
        return median(self.p50_differences_ms)


@dataclass(frozen=True)
class Outcome:
    """A scenario that was run.

    Attributes:
        cpu_s: target → processor seconds a request, all kinds together; without targets that cannot be watched.
        stages: of the service, all rounds together.
    """

    scenario: Scenario
    figures: tuple[Figures, ...]
    comparisons: tuple[Comparison, ...]
    cpu_s: Mapping[str, float]
    stages: tuple[Stage, ...]

    @property
    def concurrency(self) -> int:
        return sum(self.scenario.workers.values())

    def of_kind(self, kind: str) -> list[Figures]:
        return [figures for figures in self.figures if figures.kind == kind]

    def comparison(self, baseline: str, kind: str) -> Comparison | None:
        """None where no round has both."""
        found = (one for one in self.comparisons if (one.baseline, one.kind) == (baseline, kind))
        return next(found, None)


@dataclass(frozen=True)
class Memory:
    """Memory of the service in MB.

    Attributes:
        moments: `at rest`, and each scenario at the end of its largest run → process → MB.
        peak_mb: the largest sum that was seen at any time.
        graphs_mb: of the models' files on disk; 0 where they were not seen.
    """

    moments: Mapping[str, Mapping[str, float]]
    peak_mb: float
    graphs_mb: float

    @property
    def aim_mb(self) -> float:
        return 2 * self.graphs_mb + ALLOWED_MB

    @property
    def at_rest_mb(self) -> float:
        return sum(self.moments.get(AT_REST, {}).values())

    @property
    def processes(self) -> list[str]:
        """The largest first."""
        largest: dict[str, float] = {}
        for shares in self.moments.values():
            for name, mb in shares.items():
                largest[name] = max(mb, largest.get(name, 0.0))
        return sorted(largest, key=lambda name: -largest[name])


def targets(report: Report) -> list[str]:
    """The service, and then its baselines as they came."""
    names = dict.fromkeys(run.target for run in report.runs)
    return sorted(names, key=lambda name: name != SERVED)


def outcomes(report: Report) -> list[Outcome]:
    """The scenarios that were run, if only once."""
    names = targets(report)
    found = []
    for scenario in report.scenarios:
        runs = {name: _runs(report, name, scenario) for name in names}
        if any(runs.values()):
            found.append(_outcome(scenario, runs))
    return found


def memory(report: Report) -> Memory:
    """What the service's processes took; no moments where they were not seen."""
    moments = {AT_REST: report.resting_memory}
    for scenario in report.scenarios:
        ends = [run.processes for run in _runs(report, SERVED, scenario)]
        moments[scenario.name] = max(ends, key=lambda end: sum(one.memory_mb for one in end), default=())
    shares = {moment: _shares(processes) for moment, processes in moments.items() if processes}
    peaks = [run.peak_memory_mb for run in report.runs if run.target == SERVED]
    sums = [sum(share.values()) for share in shares.values()]
    return Memory(shares, max([*peaks, *sums], default=0.0), report.graphs_mb)


def _runs(report: Report, target: str, scenario: Scenario) -> list[Run]:
    return [run for run in report.runs if (run.target, run.scenario) == (target, scenario.name)]


def _outcome(scenario: Scenario, runs: Mapping[str, Sequence[Run]]) -> Outcome:
    return Outcome(
        scenario,
        tuple(
            _figures(target, kind, [run.kinds[kind] for run in those])
            for kind in scenario.workers
            for target, those in runs.items()
            if those
        ),
        tuple(_comparisons(scenario, runs)),
        {
            target: median(run.cpu_s_per_request for run in those)
            for target, those in runs.items()
            if any(run.processes for run in those)
        },
        _stages(runs.get(SERVED, ())),
    )


def _figures(target: str, kind: str, seen: Sequence[Latency]) -> Figures:
    answered = [one for one in seen if one.answered] or seen
    return Figures(
        target,
        kind,
        answered=sum(one.answered for one in seen),
        failed=sum(one.failed for one in seen),
        per_second=median(one.per_second for one in seen),
        p50_ms=median(one.p50_ms for one in answered),
        p90_ms=median(one.p90_ms for one in answered),
        p95_ms=median(one.p95_ms for one in answered),
        p99_ms=median(one.p99_ms for one in answered),
        faults=tuple(dict.fromkeys(fault for one in seen for fault in one.faults)),
    )


def _comparisons(scenario: Scenario, runs: Mapping[str, Sequence[Run]]) -> Iterator[Comparison]:
    served = {run.round: run.kinds for run in runs.get(SERVED, ())}
    for baseline in (name for name in runs if name != SERVED):
        for kind in scenario.workers:
            pairs = [
                (served[run.round][kind], run.kinds[kind])
                for run in runs[baseline]
                if run.round in served and run.kinds[kind].answered and served[run.round][kind].answered
            ]
            if pairs:
                yield Comparison(
                    baseline,
                    kind,
                    tuple(ours.per_second / theirs.per_second for ours, theirs in pairs),
                    tuple(ours.p50_ms - theirs.p50_ms for ours, theirs in pairs),
                )


def _stages(runs: Sequence[Run]) -> tuple[Stage, ...]:
    """Of several runs as if they were one."""
    found = [stage for run in runs for stage in run.stages]
    names = dict.fromkeys(stage.model for stage in found)
    return tuple(_joined([stage for stage in found if stage.model == name]) for name in names)


def _joined(stages: Sequence[Stage]) -> Stage:
    inferences = sum(stage.inferences for stage in stages)
    return Stage(
        stages[0].model,
        inferences,
        sum(stage.executions for stage in stages),
        sum(stage.queue_ms * stage.inferences for stage in stages) / inferences,
        sum(stage.compute_ms * stage.inferences for stage in stages) / inferences,
    )


def _shares(processes: Sequence[Process]) -> dict[str, float]:
    """Memory by name: several processes of one model are added up."""
    shares: dict[str, float] = {}
    for process in processes:
        shares[process.name] = shares.get(process.name, 0.0) + process.memory_mb
    return shares
