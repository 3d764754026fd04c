"""The fastest engine of a host is taken where its numbers are right, and it is said why."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter.preparation.config import Engine, Model, Tensor, render
from adapter.preparation.graphs import engine
from adapter.preparation.graphs.engine import Measured, Trial, choose, measure_apart
from adapter.preparation.graphs.precision import same_directions
from adapter.preparation.graphs.proof import ProofFailed, Sample
from tests.support.configs import parse
from tests.support.defaults import preparation_settings
from tests.support.graphs import Graph, save

MODEL = Model("m", "", [Tensor("x", "FP32", (8,))], [Tensor("y", "FP32", (4,))], 8, "onnxruntime")
ITEMS = [{"x": np.random.default_rng(seed).normal(0, 1, 8).astype(np.float32)} for seed in range(3)]
TRIAL = Trial(ITEMS, batched=True, judge=same_directions("y"))
WEIGHTS = np.random.default_rng(7).normal(0, 1, (8, 4)).astype(np.float32)


class Host:
    """Its engines take so many milliseconds a run, whatever is run, and are off by so much.

    Attributes:
        measured: what was asked for, in order.
    """

    def __init__(self, own: Sequence[float] = (10, 10), **engines: tuple[float, float]) -> None:
        self._own, self._engines = iter(own), engines
        self.measured: list[str] = []

    def own(self, graph: Path, config: Any, openvino: Any, feeds: Sequence[Sample]) -> Measured:
        self.measured.append("own")
        return self._answer(feeds, next(self._own), 0)

    def other(
        self, graph: Path, config: Any, openvino: Mapping[str, str] | None, feeds: Sequence[Sample]
    ) -> Measured:
        assert openvino
        precision = openvino["precision"]
        self.measured.append(precision)
        ms, off = self._engines[precision]
        if not ms:
            raise ProofFailed("its process died")
        return self._answer(feeds, ms, off)

    def _answer(self, feeds: Sequence[Sample], ms: float, off: float) -> Measured:
        answers = [{"y": feed["x"] @ WEIGHTS} for feed in feeds]
        for answer in answers:
            answer["y"][:, 0] += off
        return Measured(answers, {f"{len(feed['x'])}": ms for feed in feeds})


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "has_plugin", lambda: True)


def chosen(host: Host, **settings: str) -> Engine:
    asked = preparation_settings(**{"device": "cpu", "engine": "auto", **settings})
    found = choose(Path("model.onnx"), MODEL, TRIAL, asked, host.own, host.other)
    assert found
    return found


@pytest.mark.parametrize(
    ("own", "other", "settings", "name", "why"),
    [
        ((10, 10), {"f32": (5, 0)}, {}, "openvino f32", "2.0 times as fast as onnxruntime"),
        ((10, 10), {"f32": (8, 0)}, {}, "onnxruntime", "1.25 times as fast"),
        ((10, 8), {"f32": (8, 0)}, {}, "onnxruntime", "1.0 times as fast"),
        ((10, 10), {"f32": (5, 0.1)}, {}, "onnxruntime", "openvino f32 is not taken: y is off by"),
        ((10, 10), {"f32": (5, np.nan)}, {}, "onnxruntime", "openvino f32 is not taken: y is off by nan"),
        ((10, 10), {"f32": (0, 0)}, {}, "onnxruntime", "openvino f32 is not taken: its process died"),
        ((10, 10), {"f32": (40, 0)}, {"engine": "openvino"}, "openvino f32", "0.25 times as fast"),
        ((10, 10), {"f32": (5, 0.1)}, {"engine": "openvino"}, "onnxruntime", "is not taken"),
        (
            (10, 10),
            {"bf16": (3, 1e-3), "f32": (8, 0)},
            {"precision": "bf16"},
            "openvino bf16",
            "3.33 times as fast as onnxruntime; cosine to fp32 is 0.9999",
        ),
        (
            (10, 10),
            {"bf16": (3, 1), "f32": (5, 0)},
            {"precision": "bf16"},
            "openvino f32",
            "2.0 times as fast as onnxruntime; openvino bf16 is not taken: a vector's cosine to fp32 is 0",
        ),
    ],
)
def test_the_fastest_whose_numbers_are_right_is_taken(
    own: tuple[float, float],
    other: dict[str, tuple[float, float]],
    settings: dict[str, str],
    name: str,
    why: str,
) -> None:
    found = chosen(Host(own, **other), **settings)
    assert str(found) == name
    assert why in found.why


@pytest.mark.parametrize(("off", "tried"), [(0, ["bf16"]), (1, ["bf16", "f32"])])
def test_onnx_runtime_is_timed_before_and_after_the_other(off: float, tried: list[str]) -> None:
    host = Host(bf16=(5, off), f32=(5, 0))
    chosen(host, precision="bf16")
    assert host.measured == ["own", *tried, "own"]


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"engine": "onnxruntime"}])
def test_nothing_is_tried_where_there_is_no_choice(settings: dict[str, str]) -> None:
    asked = preparation_settings(**{"device": "cpu", "engine": "auto", **settings})
    host = Host()
    assert choose(Path(), MODEL, TRIAL, asked, host.own, host.other) is None
    assert host.measured == []


@pytest.mark.parametrize("name", ["", "openvino"])
def test_the_config_names_the_engine_and_says_why(name: str) -> None:
    parameters = {"precision": "bf16"} if name else {}
    found = Engine(name, parameters, "because it is so", 2.0, {"1 x 8": (10.0, 5.0)})
    text = render(Model("m", "", MODEL.inputs, MODEL.outputs, 8, "onnxruntime", engine=found))
    assert "# because it is so\n  # 1 x 8: 5 instead of 10 ms" in text
    accelerators = parse(text).optimization.execution_accelerators.cpu_execution_accelerator
    assert [(each.name, dict(each.parameters)) for each in accelerators] == (
        [(name, parameters)] if name else []
    )


class TestApart:
    def test_a_crash_is_its_own_and_named(self) -> None:
        class Crash:
            def __reduce__(self) -> Any:
                return os._exit, (11,)

        with pytest.raises(ProofFailed, match="its process died"):
            measure_apart(Crash())

    def test_what_the_engine_cannot_do_is_named(self, tmp_path: Path) -> None:
        g = Graph()
        g.output(g.op("NoSuchOperator", g.input("x", ["batch", 8])), ["batch", 4])
        save(g.model(), path := tmp_path / "model.onnx")
        config = {"max_batch_size": 8, "output": [{"name": "t0"}], "parameters": {}}
        with pytest.raises(ProofFailed, match="NoSuchOperator"):
            measure_apart(path, config, None, [{"x": np.ones((1, 8), np.float32)}])
