"""What computes a graph is what its config asks for, or the model is refused with the reason."""

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from adapter.preparation.config import Engine, Model, Tensor, render
from bench.pb_utils import InferenceRequest, TritonModelException
from tests.support.configs import Config, parse
from tests.support.graphs import Graph, save
from tests.support.step import Step, arrays

Load = Callable[..., Step]

PLUGIN = "onnxruntime_ep_openvino"
with_openvino = pytest.mark.skipif(not find_spec(PLUGIN), reason=f"{PLUGIN} is not installed here")


@pytest.fixture
def asking(load: Load, tmp_path: Path) -> Callable[..., Step]:
    """Loads a graph, `y` = `x` times weights, by an engine."""
    g = Graph()
    g.output(g.linear(g.input("x", ["batch", 64]), 64, 32), ["batch", 32])
    save(g.model(), tmp_path / "1/model.onnx")
    return lambda *engine: load(config(g.model().graph.output[0].name, *engine))


def config(output: str, name: str = "", parameters: Mapping[str, str] = {}) -> Config:
    engine = Engine(name, parameters)
    tensors = [Tensor("x", "FP32", (64,))], [Tensor(output, "FP32", (32,))]
    return parse(render(Model("m", "", *tensors, 8, "onnxruntime", engine=engine)))


def batch(rows: int) -> NDArray[np.float32]:
    return np.random.default_rng(rows).normal(0, 1, (rows, 64)).astype(np.float32)


@with_openvino
class TestOpenVino:
    def test_its_numbers_are_those_of_onnx_runtime_in_full_precision(
        self, asking: Callable[..., Step]
    ) -> None:
        """Left alone it computes in bfloat16 where the processor has that, and is off by a hundredth."""
        own, other = asking(), asking("openvino", {"precision": "f32"})
        sent = [batch(1), batch(3), batch(2)]
        requests = [[InferenceRequest(x=x) for x in sent] for _ in range(2)]
        for expected, found in zip(own.run(*requests[0]), other.run(*requests[1]), strict=True):
            (first,), (second,) = arrays(expected).values(), arrays(found).values()
            np.testing.assert_allclose(second, first, rtol=0, atol=1e-5)

    def test_its_threads_are_bound_to_no_core(self, asking: Callable[..., Step]) -> None:
        asking("openvino").run(InferenceRequest(x=batch(20_000)))  # so much that all of them work
        threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
        assert [thread for thread in threads if os.sched_getaffinity(thread) != os.sched_getaffinity(0)] == []

    def test_a_device_that_is_not_here_is_named(self, asking: Callable[..., Step]) -> None:
        with pytest.raises(TritonModelException, match="OpenVINO finds no NPU here"):
            asking("openvino", {"device": "NPU"})


def test_an_engine_that_nobody_knows_is_refused(asking: Callable[..., Step]) -> None:
    with pytest.raises(TritonModelException, match="no engine 'tensorrt' here"):
        asking("tensorrt")


def fake(path: str) -> SimpleNamespace:
    return SimpleNamespace(get_ep_name=lambda: "Fake", get_library_path=lambda: path)


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (None, "not installed here: pip install onnxruntime-ep-openvino"),
        (fake(__file__), r"cannot be loaded: .*test_engines.py"),
        (fake("/nowhere.so"), r"cannot be loaded: .*nowhere.so"),
    ],
)
def test_a_plug_in_that_cannot_be_had_is_named_with_the_reason(
    asking: Callable[..., Step], monkeypatch: pytest.MonkeyPatch, plugin: object, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, PLUGIN, plugin)
    with pytest.raises(TritonModelException, match=f"OpenVINO (is )?{reason}"):
        asking("openvino")
