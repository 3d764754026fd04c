"""A benchmark's report with MADE-UP figures: nothing in it was measured."""

import random
from collections.abc import Mapping

from bench.results import SERVED, Difference, Latency, Process, Report, Run, Scenario, Stage

IN_PROCESS, ORIGINAL = "in-process", "http://nas:3004"
SCENARIOS = (
    Scenario("pictures at 1", {"picture": 1}, "One at a time: previews are encoded for smart search."),
    Scenario("pictures at 16", {"picture": 16}, "16 at a time: previews are encoded for smart search."),
    Scenario("groups at 16", {"group": 16}, "16 at a time: faces of group photos are found and recognised."),
    Scenario("pages at 4", {"page": 4}, "4 at a time: dense pages are read."),
    Scenario("texts at 1", {"text": 1}, "One at a time: search texts of one to eight words are encoded."),
    Scenario(
        "default mix",
        {"picture": 2, "group": 2, "page": 1, "text": 1},
        "Immich's default concurrency: 2 smart search, 2 faces, 1 OCR; and someone who searches.",
    ),
)
PER_SECOND = {
    "pictures at 1": {"picture": 11.8},
    "pictures at 16": {"picture": 13.1},
    "groups at 16": {"group": 2.1},
    "pages at 4": {"page": 0.62},
    "texts at 1": {"text": 88.0},
    "default mix": {"picture": 3.4, "group": 0.7, "page": 0.21, "text": 12.5},
}
SPEED = {SERVED: 0.965, IN_PROCESS: 1.0, ORIGINAL: 0.71}
MEMORY_MB = {
    "adapter": 118.0,
    "tritonserver": 96.0,
    "demo-ocr.detection.postprocess": 71.0,
    "demo-ocr.detection.preprocess": 64.0,
    "demo-ocr.recognition.graph": 143.0,
    "demo-ocr.detection.graph": 88.0,
    "stand-in-ViT-B-32.textual.graph": 312.0,
    "stand-in-ViT-B-32.textual.tokenize": 66.0,
    "stand-in-ViT-B-32.visual.graph": 421.0,
    "stand-in-ViT-B-32.visual.preprocess": 83.0,
    "stand-in-buffalo_l.detection.graph": 97.0,
    "stand-in-buffalo_l.detection.decode": 92.0,
    "stand-in-buffalo_l.recognition.graph": 238.0,
}


def made_up_report(rounds: int = 3, *, failing: bool = False) -> Report:
    """Six loads on the service and two baselines; always the same.

    Args:
        failing: whether some requests of the last round fail.
    """
    dice = random.Random(7)
    runs = [
        _run(target, scenario, number, dice, failed=4 if failing and number == rounds else 0)
        for number in range(1, rounds + 1)
        for scenario in SCENARIOS
        for target in SPEED
    ]
    return Report(
        command="immich-triton bench --baseline in-process --baseline http://nas:3004 --duration 10",
        started="2026-11-22T22:30:00+00:00",
        host={
            "CPU": "MADE UP: Example CPU @ 2.50GHz",
            "cores": "2",
            "memory": "16.4 GB",
            "system": "Linux 6.1.0",
            "Python": "3.11.2",
            "ONNX Runtime": "1.32.0",
            "immich-triton": "0.1.0",
        },
        models={
            "clip": "stand-in-ViT-B-32: visual 352 MB, textual 254 MB",
            "facial-recognition": "stand-in-buffalo_l: detection 17 MB, recognition 174 MB",
            "ocr": "demo-ocr: detection 5 MB, recognition 17 MB",
        },
        scenarios=SCENARIOS,
        runs=tuple(runs),
        differences=(
            Difference(IN_PROCESS, "picture", 8, 8, "cosine 1.000000"),
            Difference(IN_PROCESS, "group", 3, 3, "box 0.0 px"),
            Difference(ORIGINAL, "picture", 8, 8, "cosine 0.999981"),
            Difference(ORIGINAL, "page", 3, 2, 'text "Rhabarber & <Co>" for "Rhabarber & Co"'),
        ),
        resting_memory=_processes(0.8, 0, dice),
        graphs_mb=819.0,
        notes=("These figures are made up, to try the report's looks.",),
    )


def _run(target: str, scenario: Scenario, number: int, dice: random.Random, *, failed: int) -> Run:
    rates = PER_SECOND[scenario.name]
    kinds = {
        kind: _latency(rates[kind] * SPEED[target] * dice.uniform(0.97, 1.03), workers, failed)
        for kind, workers in scenario.workers.items()
    }
    served = target == SERVED
    processes = {
        SERVED: _processes(dice.uniform(0.95, 1.05), 19.0, dice),
        IN_PROCESS: (Process("python", 1240.0, 19.2),),
    }
    return Run(
        target,
        scenario.name,
        number,
        10.0,
        kinds,
        peak_memory_mb=dice.uniform(2050, 2210) if served else 0.0,
        processes=processes.get(target, ()),
        stages=_stages(kinds, scenario.workers) if served else (),
    )


def _latency(per_second: float, workers: int, failed: int) -> Latency:
    mean_ms = 1000 * workers / per_second
    return Latency(
        answered=round(per_second * 10),
        failed=failed,
        per_second=per_second,
        mean_ms=mean_ms,
        p50_ms=mean_ms * 0.97,
        p90_ms=mean_ms * 1.12,
        p95_ms=mean_ms * 1.21,
        p99_ms=mean_ms * 1.48,
        faults=("picture beach: status 503: no engine",) if failed else (),
    )


def _processes(share: float, cpu_s: float, dice: random.Random) -> tuple[Process, ...]:
    return tuple(
        Process(name, mb * share * dice.uniform(0.98, 1.02), cpu_s / len(MEMORY_MB))
        for name, mb in MEMORY_MB.items()
    )


def _stages(kinds: Mapping[str, Latency], workers: Mapping[str, int]) -> tuple[Stage, ...]:
    steps = {
        "picture": ("stand-in-ViT-B-32.visual.preprocess", "stand-in-ViT-B-32.visual.graph"),
        "group": ("stand-in-buffalo_l.detection.decode", "stand-in-buffalo_l.recognition.graph"),
        "page": ("demo-ocr.detection.graph", "demo-ocr.recognition.graph"),
        "text": ("stand-in-ViT-B-32.textual.tokenize", "stand-in-ViT-B-32.textual.graph"),
    }
    return tuple(
        Stage(
            model, seen.answered, max(1, round(seen.answered / (1 + workers[kind] / 8))), queue_ms, compute_ms
        )
        for kind, seen in kinds.items()
        for model, queue_ms, compute_ms in zip(
            steps[kind], (1.2 * workers[kind], 11.0 * workers[kind]), (14.2, 55.1), strict=True
        )
    )
