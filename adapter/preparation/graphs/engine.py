"""Which engine computes an encoder: the fastest on this host whose numbers are those of ONNX Runtime's own provider.

Encoders only. What a detector says is cut by thresholds, and the millionth by which another engine is off moves a crop
or a contour now and then (docs/performance.md).

It is run as it will be served, by the backend's own code. One engine is loaded at a time, so that the weights lie in
memory once: ONNX Runtime's own, the other, and the own again, for a host that grew busier or idler meanwhile. OpenVINO
has a process of its own: where it crashes, nothing else does.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import cycle, groupby, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from adapter.preparation.config import Engine, Model
from adapter.preparation.graphs.proof import BATCH_TOLERANCE, Answer, ProofFailed, Sample, difference
from adapter.processor import has_plugin
from adapter.setting_types import Device, EngineChoice, Precision
from adapter.settings import PreparationSettings
from backends.onnxruntime import engines
from backends.onnxruntime.lanes import open_lanes

MARGIN = 1.3
"""How many times as fast another engine must be: in a draw the simpler one stays. (With 1.2 for the face recogniser
alone, group photos came no faster.)"""
ROUNDS = 3
ENOUGH_S, MOST_S = 0.3, 3.0
"""Of runs with one feed: as many as fit, at least `ROUNDS`, unless these take too long."""
MOST_ROWS = 4
"""Of a batch."""

Judge = Callable[[Sequence[Answer], Sequence[Answer]], str]
"""Compares the answers in full precision with others; raises `ProofFailed`, or returns what is to be said of them."""


@dataclass(frozen=True)
class Trial:
    """What a graph is tried with.

    Attributes:
        items: as they will come most, without the batch axis; those of one shape stand together.
        batched: whether the graph takes several at a time.
        judge: of vectors in bfloat16.
    """

    items: Sequence[Sample]
    batched: bool
    judge: Judge


@dataclass(frozen=True)
class Measured:
    """What came out of every feed, and the least time that it took."""

    answers: Sequence[Answer]
    times_ms: Mapping[str, float]


Measure = Callable[[Path, Mapping[str, Any], Mapping[str, str] | None, Sequence[Sample]], Measured]


def measure(
    graph: Path, config: Mapping[str, Any], openvino: Mapping[str, str] | None, feeds: Sequence[Sample]
) -> Measured:
    """Runs a graph in this process.

    Args:
        config: of its model, as Triton hands it on.
        openvino: its parameters; None for ONNX Runtime's own provider.
        feeds: the inputs of each run, with the batch axis.

    Raises:
        engines.Missing: the engine cannot be had here.
    """
    runner = open_lanes(graph, config, engines.Own() if openvino is None else engines.OpenVino(openvino))
    names = [tensor["name"] for tensor in config["output"]]
    answers = [dict(zip(names, runner.run([feed])[0], strict=True)) for feed in feeds]
    return Measured(answers, {_name(feed): _least_ms(runner, feed) for feed in _distinct(feeds)})


def measure_apart(*arguments: Any) -> Measured:
    """`measure`, in a process of its own.

    Raises:
        ProofFailed: it cannot be run by that engine.
    """
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(measure, *arguments).result()
    except BrokenProcessPool:
        raise ProofFailed("its process died") from None
    except Exception as error:  # the runtime's have no base class of their own
        raise ProofFailed(" ".join(str(error).split())) from error


def choose(
    graph: Path,
    model: Model,
    trial: Trial,
    settings: PreparationSettings,
    own: Measure = measure,
    other: Measure = measure_apart,
) -> Engine | None:
    """The engine for a graph that is written; None where there is no choice.

    Args:
        model: that runs it, for a CPU.
        own: measures ONNX Runtime's own provider.
        other: measures OpenVINO.
    """
    if settings.device is not Device.CPU or settings.engine is EngineChoice.ONNXRUNTIME:
        return None
    if not has_plugin():
        return None
    config, feeds = _as_triton_hands_it_on(model), list(_feeds(trial, model.max_batch_size))
    expected = own(graph, config, None, feeds)
    reasons = []
    for precision, judge in _judges(trial, settings).items():
        try:
            measured = other(graph, config, {"precision": precision}, feeds)
            remark = judge(expected.answers, measured.answers)
            break
        except ProofFailed as reason:
            reasons.append(f"openvino {precision} is not taken: {reason}")
    else:
        return Engine(why="; ".join(reasons))
    again = own(graph, config, None, feeds).times_ms
    least = {name: min(ms, again[name]) for name, ms in expected.times_ms.items()}
    taken = settings.engine is EngineChoice.OPENVINO or _ratio(least, measured.times_ms) >= MARGIN
    return _described(precision, least, measured.times_ms, [remark, *reasons], taken=taken)


def same_numbers(expected: Sequence[Answer], found: Sequence[Answer]) -> str:
    """Raises `ProofFailed` where they are not those of full precision."""
    for name in expected[0]:
        first, second = (
            np.concatenate([answer[name].ravel() for answer in answers]) for answers in (expected, found)
        )
        if first.shape != second.shape:
            raise ProofFailed(f"{name} has other shapes")
        if not (off := difference(first, second)) <= BATCH_TOLERANCE:
            raise ProofFailed(f"{name} is off by {off:.1e}, allowed are {BATCH_TOLERANCE:.0e}")
    return ""


def _judges(trial: Trial, settings: PreparationSettings) -> dict[str, Judge]:
    """By precision: the one that is wanted, and what is taken in its place."""
    reduced = {engines.BF16: trial.judge} if settings.precision is Precision.BF16 else {}
    return {**reduced, "f32": same_numbers}


def _feeds(trial: Trial, most_rows: int) -> Iterator[Sample]:
    """Every item alone, and those of one shape together."""
    rows = min(most_rows, MOST_ROWS) if trial.batched else 1
    for _, group in groupby(trial.items, key=_shapes):
        items = list(group)
        yield from (_stacked([item]) for item in items)
        if rows > 1:
            yield _stacked(list(islice(cycle(items), rows)))


def _stacked(items: Sequence[Sample]) -> Sample:
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def _distinct(feeds: Sequence[Sample]) -> list[Sample]:
    """One for each shape."""
    return list({_shapes(feed): feed for feed in feeds}.values())


def _shapes(feed: Sample) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in feed.values())


def _name(feed: Sample) -> str:
    rows, *sizes = next(iter(feed.values())).shape
    return f"{rows} x {'x'.join(map(str, sizes))}"


def _least_ms(runner: Any, feed: Sample) -> float:
    taken: list[float] = []
    while sum(taken) < (MOST_S if len(taken) < ROUNDS else ENOUGH_S):
        started = time.perf_counter()
        runner.run([feed])
        taken.append(time.perf_counter() - started)
    return round(min(taken) * 1000, 2)


def _ratio(own: Mapping[str, float], other: Mapping[str, float]) -> float:
    """How many times as fast: the geometric mean of all feeds."""
    return math.exp(sum(math.log(own[name] / other[name]) for name in own) / len(own))


def _described(
    precision: str,
    own: Mapping[str, float],
    other: Mapping[str, float],
    remarks: Sequence[str],
    *,
    taken: bool,
) -> Engine:
    ratio = round(_ratio(own, other), 2)
    why = f"openvino {precision} is {ratio} times as fast as onnxruntime"
    return Engine(
        engines.OPENVINO if taken else "",
        {"precision": precision} if taken else {},
        "; ".join(filter(None, (why, *remarks))),
        ratio,
        {name: (own[name], other[name]) for name in own},
    )


def _as_triton_hands_it_on(model: Model) -> Mapping[str, Any]:
    """What of the config the backend reads."""
    return {
        "max_batch_size": model.max_batch_size,
        "output": [{"name": tensor.name} for tensor in model.outputs],
        "parameters": {key: {"string_value": value} for key, value in model.parameters.items()},
    }
