"""What the page tells of requests: read from the metrics, so that nothing is counted a second time."""

from dataclasses import dataclass, field
from math import isinf

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

from adapter.metrics import BUCKETS_S, Metrics, Stage
from adapter.protocol import TaskName

TITLES = {
    TaskName.CLIP: "Smart search",
    TaskName.FACES: "Facial recognition",
    TaskName.OCR: "Text recognition",
}
STAGES = {
    Stage.WAIT: "wait for memory",
    Stage.READ: "arriving",
    Stage.TRITON: "at the models",
}


@dataclass
class Requests:
    """Those with one task, since the start.

    Attributes:
        within: how many took at most so many seconds; the last one, infinity, counts all.
    """

    title: str
    answered: int = 0
    failed: int = 0
    within: dict[float, int] = field(default_factory=dict)

    def took(self, share: float) -> str:
        """The shortest of the counted times within which this share of them ended."""
        total = max(self.within.values(), default=0)
        if not total:
            return "–"
        bound_s = next(bound for bound, count in self.within.items() if count >= share * total)
        if isinf(bound_s):
            return f"over {BUCKETS_S[-1]} s"
        return f"{bound_s:g} s" if bound_s >= 1 else f"{1000 * bound_s:g} ms"


def by_task(metrics: Metrics) -> list[Requests]:
    """Of each task, also where nobody has asked for it yet; and of those that were not understood."""
    tasks = {str(task): Requests(title) for task, title in TITLES.items()}
    for sample in _samples(metrics.requests, "_total"):
        task = tasks.setdefault(sample.labels["task"], Requests("Not understood"))
        if sample.labels["status"] == "200":
            task.answered += int(sample.value)
        else:
            task.failed += int(sample.value)
    for sample in _samples(metrics.request_seconds, "_bucket"):
        tasks[sample.labels["task"]].within[float(sample.labels["le"])] = int(sample.value)
    return list(tasks.values())


def in_flight(metrics: Metrics) -> dict[str, int]:
    """Requests now under way, by where they are. (To write an answer takes no time worth a look.)"""
    gauge = metrics.registry.get_sample_value
    name = "immich_triton_requests_in_flight"
    return {words: int(gauge(name, {"stage": stage}) or 0) for stage, words in STAGES.items()}


def _samples(metric: MetricWrapperBase, suffix: str) -> list[Sample]:
    return [
        sample for family in metric.collect() for sample in family.samples if sample.name.endswith(suffix)
    ]


def duration(seconds: float) -> str:
    """Such as `12 s`, `3 min`, `5 h` or `2 days`."""
    for size_s, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size_s:
            return f"{seconds // size_s:.0f} {unit}"
    return f"{seconds:.0f} s"
