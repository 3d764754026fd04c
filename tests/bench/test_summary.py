"""The figures that a report tells."""

from dataclasses import replace

import pytest

from bench import summary, words
from bench.results import SERVED, Latency, Process, Report, Run, Scenario, Stage
from tests.support.benchmark import IN_PROCESS, made_up_report

LOAD = Scenario("pictures at 1", {"picture": 1})


def seen(per_second: float, p50_ms: float = 10.0, answered: int = 5, failed: int = 0) -> Latency:
    faults = ("status 503",) if failed else ()
    return Latency(answered, failed, per_second, p50_ms, p50_ms, p50_ms, p50_ms, p50_ms, faults)


def run(target: str, number: int, latency: Latency, **more: object) -> Run:
    return replace(Run(target, LOAD.name, number, 10.0, {"picture": latency}), **more)  # type: ignore[arg-type]


def report(*runs: Run, **more: object) -> Report:
    empty = Report("immich-triton bench", "2026-11-22T22:30:00+00:00", {}, {}, (LOAD,), runs)
    return replace(empty, **more)  # type: ignore[arg-type]


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    ours, theirs = (6.0, 4.0, 2.0), (12.0, 5.0, 2.0)
    rounds = enumerate(zip(ours, theirs, strict=True), 1)
    runs = [
        run(target, number, seen(rate))
        for number, rates in rounds
        for target, rate in zip((SERVED, IN_PROCESS), rates, strict=True)
    ]
    (outcome,) = summary.outcomes(report(*runs))
    comparison = outcome.comparison(IN_PROCESS, "picture")
    assert comparison
    assert comparison.ratios == (0.5, 0.8, 1.0)
    assert comparison.ratio == 0.8
    assert [figures.per_second for figures in outcome.figures] == [4.0, 5.0]


def test_rounds_that_only_one_of_two_has_finished_are_not_compared() -> None:
    (outcome,) = summary.outcomes(
        report(
            run(SERVED, 1, seen(4.0, p50_ms=13.0)),
            run(IN_PROCESS, 1, seen(5.0, p50_ms=10.0)),
            run(SERVED, 2, seen(1.0)),
            run(IN_PROCESS, 3, seen(0.0, answered=0, failed=2)),
            run(SERVED, 3, seen(4.0)),
        )
    )
    comparison = outcome.comparison(IN_PROCESS, "picture")
    assert comparison
    assert comparison.ratios == (0.8,)
    assert comparison.p50_difference_ms == 3.0
    assert outcome.comparison("http://elsewhere", "picture") is None


def test_failures_are_added_up_over_the_rounds_and_do_not_move_the_percentiles() -> None:
    (outcome,) = summary.outcomes(
        report(run(SERVED, 1, seen(4.0, 8.0)), run(SERVED, 2, seen(0.0, 0.0, answered=0, failed=3)))
    )
    (figures,) = outcome.figures
    assert (figures.answered, figures.failed, figures.p50_ms) == (5, 3, 8.0)
    assert words.failures([outcome]) == [("served, pictures at 1: 3 of 8", ("status 503",))]


def test_stages_are_joined_by_how_often_each_round_ran_them() -> None:
    stages = Stage("m.graph", 10, 10, 1.0, 5.0), Stage("m.graph", 30, 10, 3.0, 9.0)
    runs = [run(SERVED, number, seen(1.0), stages=(stage,)) for number, stage in enumerate(stages, 1)]
    (outcome,) = summary.outcomes(report(*runs))
    assert outcome.stages == (Stage("m.graph", 40, 20, 2.5, 8.0),)
    assert outcome.stages[0].mean_batch == 2.0


def test_processor_time_is_told_only_of_targets_whose_processes_are_seen() -> None:
    watched = run(SERVED, 1, seen(2.0), processes=(Process("adapter", 1.0, 4.0), Process("stub", 1.0, 6.0)))
    (outcome,) = summary.outcomes(report(watched, run("http://nas:3004", 1, seen(2.0))))
    assert outcome.cpu_s == {SERVED: pytest.approx(0.5)}


def test_memory_adds_processes_of_one_name_and_takes_the_largest_run() -> None:
    small, large = Process("stub", 10.0, 0.0), Process("stub", 15.0, 0.0)
    runs = (
        run(SERVED, 1, seen(1.0), processes=(small, small), peak_memory_mb=20.0),
        run(SERVED, 2, seen(1.0), processes=(large, small), peak_memory_mb=40.0),
        run(IN_PROCESS, 1, seen(1.0), processes=(Process("python", 500.0, 0.0),), peak_memory_mb=500.0),
    )
    found = summary.memory(report(*runs, resting_memory=(small,), graphs_mb=100.0))
    assert found.moments == {"at rest": {"stub": 10.0}, LOAD.name: {"stub": 25.0}}
    assert (found.at_rest_mb, found.peak_mb, found.aim_mb) == (10.0, 40.0, 1000.0)


def test_a_report_without_runs_says_nothing_but_that() -> None:
    assert summary.outcomes(report()) == []
    assert summary.memory(report()).moments == {}
    assert words.sentences(report())[0].startswith("0 loads")


def test_the_sentences_name_the_ends_of_the_range() -> None:
    said = " ".join(words.sentences(made_up_report()))
    assert "0.93 (groups at 16) to 0.96 (pictures at 16) times the throughput of in-process" in said
    assert "−33.0 ms (pictures at 1)" in said
    assert "2,438 MB in all, is kept" in said
    assert "agree on 10 of 11" in said


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00012, "0.00012"), (0.968, "0.97"), (9.996, "10.0"), (99.96, "100"), (1390.4, "1,390")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert words.number(value) == text
