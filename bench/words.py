"""A report's figures as people read them: in numbers of three digits, and in sentences."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median

from bench import summary
from bench.results import Report
from bench.summary import Comparison, Outcome

SHOWN_FAILURES = 6
KINDS = {
    "picture": "one photo for smart search: a preview in, a vector out",
    "group": "one group photo for faces: every face is found and turned into a vector",
    "page": "one photo of a page for text recognition: every line is found and read",
    "text": "one search: a text in, a vector out",
}
"""What one request of each kind is."""


def number(value: float) -> str:
    """With three digits: `1,390`, `78.2`, `0.97`."""
    if not value:
        return "0"
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def moment(iso: str) -> str:
    """An ISO 8601 time: `22 November 2026, 22:30 UTC`."""
    return f"{datetime.fromisoformat(iso):%-d %B %Y, %H:%M %Z}".strip()


def label(outcome: Outcome, kind: str) -> str:
    """The name of a load, with the kind of request where it has several."""
    name = outcome.scenario.name
    return name if len(outcome.scenario.workers) == 1 else f"{name}, {kind}s"


def spread(comparison: Comparison) -> str:
    """The lowest and the highest ratio of the rounds."""
    lowest, highest = (f"{ratio:.2f}" for ratio in (min(comparison.ratios), max(comparison.ratios)))
    return lowest if lowest == highest else f"{lowest}–{highest}"


def failures(found: Sequence[Outcome]) -> list[tuple[str, tuple[str, ...]]]:
    """Where requests failed, and how; the first few and how many there are besides."""
    failed = [
        (
            f"{figures.target}, {label(outcome, figures.kind)}: "
            f"{figures.failed} of {figures.answered + figures.failed}",
            figures.faults,
        )
        for outcome in found
        for figures in outcome.figures
        if figures.failed
    ]
    more = len(failed) - SHOWN_FAILURES
    return failed[:SHOWN_FAILURES] + ([(f"and {more} more", ())] if more > 0 else [])


def sentences(report: Report) -> list[str]:
    """What was found, in short."""
    found = summary.outcomes(report)
    return [
        *_procedure(report, found),
        *(words for target in summary.targets(report)[1:] for words in _compared(target, found)),
        *_memory(report),
        *_agreement(report),
    ]


def _procedure(report: Report, found: Sequence[Outcome]) -> Iterator[str]:
    rounds = max((run.round for run in report.runs), default=0)
    seconds = number(median(run.duration_s for run in report.runs)) if report.runs else "0"
    targets = " and ".join(["the service", *summary.targets(report)[1:]])
    loads = f"{_count(len(found), 'load')} for about {seconds} s each"
    yield f"{loads} on {targets}, in turn, in {_count(rounds, 'round')}."
    requests = sum(run.requests for run in report.runs)
    if failed := sum(figures.failed for outcome in found for figures in outcome.figures):
        yield f"{failed:,} of {requests:,} requests failed, or were answered otherwise than alone."
    else:
        yield f"Each of {requests:,} requests got the answer that it gets alone."


def _compared(baseline: str, found: Sequence[Outcome]) -> Iterator[str]:
    """Of loads of one kind: in a mix the kinds compete, and one's ratio says how they share."""
    pairs = [
        (outcome.concurrency, comparison, label(outcome, comparison.kind))
        for outcome in found
        for comparison in outcome.comparisons
        if comparison.baseline == baseline and len(outcome.scenario.workers) == 1
    ]
    if busy := sorted((one.ratio, where) for workers, one, where in pairs if workers > 1):
        ratios = _range(busy, ".2f")
        yield f"With several requests at a time the service has {ratios} times the throughput of {baseline}."
    if alone := sorted((one.p50_difference_ms, where) for workers, one, where in pairs if workers == 1):
        differences = _range(alone, "+.1f", " ms")
        yield f"With one request at a time its p50 differs from that of {baseline} by {differences}."


def _memory(report: Report) -> Iterator[str]:
    memory = summary.memory(report)
    if memory.moments:
        at_rest, peak = number(memory.at_rest_mb), number(memory.peak_mb)
        yield f"Its processes together take {at_rest} MB of memory at rest, and at most {peak} MB."
    if memory.moments and memory.graphs_mb:
        verdict = "kept" if memory.peak_mb < memory.aim_mb else "missed"
        yield (
            f"The models' files are {number(memory.graphs_mb)} MB. The aim for models of full size, less than twice "
            f"that and {summary.ALLOWED_MB} MB more, {number(memory.aim_mb)} MB in all, is {verdict}."
        )


def _agreement(report: Report) -> Iterator[str]:
    for baseline in dict.fromkeys(difference.baseline for difference in report.differences):
        those = [difference for difference in report.differences if difference.baseline == baseline]
        equal, compared = sum(one.equal for one in those), sum(one.compared for one in those)
        yield f"The service and {baseline} agree on {equal} of {compared} different requests."


def _range(values: Sequence[tuple[float, str]], form: str, unit: str = "") -> str:
    """The first and the last of some values, each with where it was."""
    ends = dict.fromkeys((values[0], values[-1]))
    return " to ".join(f"{f'{value:{form}}'.replace('-', '−')}{unit} ({where})" for value, where in ends)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
