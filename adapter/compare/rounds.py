"""Several rounds of a load as one. A round in which the host was busy with something else does not count."""

from collections.abc import Sequence
from statistics import median

from adapter.compare.load import SHOWN_FAULTS, Figures


def middle(rounds: Sequence[Figures]) -> Figures:
    """The medians of the rounds' rates and latencies; how many were answered, and how many were not, in all."""
    faults = dict.fromkeys(fault for one in rounds for fault in one.faults)
    return Figures(
        answered=sum(one.answered for one in rounds),
        failed=sum(one.failed for one in rounds),
        per_second=median(one.per_second for one in rounds),
        p50_ms=median(one.p50_ms for one in rounds),
        p95_ms=median(one.p95_ms for one in rounds),
        faults=tuple(faults)[:SHOWN_FAULTS],
    )


def ratio(ours: Sequence[Figures], theirs: Sequence[Figures]) -> float | None:
    """Our rate by theirs: taken within each round, as a busy host slows both; then the median of the rounds."""
    pairs = zip(ours, theirs, strict=True)
    ratios = [one.per_second / other.per_second for one, other in pairs if other.per_second]
    return median(ratios) if ratios else None
