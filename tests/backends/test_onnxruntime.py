"""The backend that runs graphs: it batches what can be, and obeys the config.

A GPU's way (few shapes, a session each, batches filled up) is taken here on a CPU; the sessions alone differ there.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import psutil
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from adapter.preparation.config import Model, Tensor, render
from bench.pb_utils import InferenceRequest, TritonError, TritonModelException
from tests.support.configs import Config, parse
from tests.support.step import Step, arrays, fault

Load = Callable[..., Step]
Floats = NDArray[np.float32]

X = Tensor("x", "FP32", (-1,))
DOUBLE, SQUARE = Tensor("double", "FP32", (-1,)), Tensor("square", "FP32", (-1,))


def value(name: str, kind: int, *dims: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def save(folder: Path, graph: onnx.GraphProto) -> None:
    (folder / "1").mkdir(exist_ok=True)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, folder / "1/model.onnx")


def arithmetic(batch: int | str = "batch") -> onnx.GraphProto:
    """`x` (batch, n) → `double`, `square`."""
    nodes = [helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("Mul", ["x", "x"], ["square"])]
    outputs = [value(name, TensorProto.FLOAT, batch, "n") for name in ("double", "square")]
    return helper.make_graph(nodes, "arithmetic", [value("x", TensorProto.FLOAT, batch, "n")], outputs)


def look_up() -> onnx.GraphProto:
    """`index` (batch, 1) → `found` (batch, 1) of a table of three; other indices make the runtime fail."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3], [10, 11, 12])
    return helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["found"])],
        "look up",
        [value("index", TensorProto.INT64, "batch", 1)],
        [value("found", TensorProto.FLOAT, "batch", 1)],
        [table],
    )


def config(
    inputs: Sequence[Tensor] = (X,),
    outputs: Sequence[Tensor] = (DOUBLE, SQUARE),
    max_batch_size: int = 8,
    parameters: Mapping[str, str] = {},
) -> Config:
    model = Model("m", "", inputs, outputs, max_batch_size, "onnxruntime", parameters=parameters)
    return parse(render(model))


def rows(*first: float, width: int = 2) -> Floats:
    """One row for each number, which it begins with; the rest counts on."""
    return np.array(first, np.float32)[:, None] + np.arange(width, dtype=np.float32)


class Recorder:
    """A session that notes the batches it is given: to run while its caller waits, and beside that."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.batches: list[int] = []
        self.beside: list[int] = []
        self.options: list[ort.RunOptions | None] = []

    def run(self, outputs: list[str], feeds: dict[str, Floats], options: ort.RunOptions | None) -> list[Any]:
        self.batches.append(len(next(iter(feeds.values()))))
        self.options.append(options)
        answers: list[Any] = self._session.run(outputs, feeds, options)
        return answers

    def run_async(
        self, outputs: list[str], feeds: dict[str, Floats], then: Any, data: Any, options: Any
    ) -> None:
        self.beside.append(len(next(iter(feeds.values()))))
        self._session.run_async(outputs, feeds, then, data, options)


def record(step: Step) -> Recorder:
    """Puts a recorder before the session of a loaded step."""
    step.model._runner.session = recorder = Recorder(step.model._runner.session)
    return recorder


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    save(tmp_path, arithmetic())
    return tmp_path


class TestBatches:
    @pytest.mark.parametrize(
        ("threads", "batches", "beside"),
        [(1, [6], []), (2, [3], [3]), (4, [2], [2, 1, 1]), (8, [1], [1] * 5)],
    )
    def test_requests_are_joined_and_shared_out_to_the_threads(
        self, load: Load, graph: Path, threads: int, batches: list[int], beside: list[int]
    ) -> None:
        step = load(config(parameters={"intra_op_thread_count": str(threads)}))
        recorder = record(step)
        sent = [rows(1), rows(2, 3, 4), rows(5, 6)]
        answers = step.run(*(InferenceRequest(x=x) for x in sent))
        assert (recorder.batches, recorder.beside) == (batches, beside)
        for x, answer in zip(sent, answers, strict=True):
            np.testing.assert_array_equal(arrays(answer)["double"], x + x)
            np.testing.assert_array_equal(arrays(answer)["square"], x * x)

    def test_requests_of_different_shapes_are_run_as_one_batch_each_and_answered_in_order(
        self, load: Load, graph: Path
    ) -> None:
        step = load(config(parameters={"intra_op_thread_count": "2"}))
        recorder = record(step)
        sent = [rows(1, width=9), rows(2, width=2), rows(3, 4, width=9), rows(5, width=2), rows(6, width=5)]
        answers = step.run(*(InferenceRequest(x=x) for x in sent))
        assert sorted(recorder.batches + recorder.beside) == [1, 1, 2, 2], "the wide ones in two shares"
        for x, answer in zip(sent, answers, strict=True):
            np.testing.assert_array_equal(arrays(answer)["double"], x + x)

    def test_inputs_are_joined_by_name(self, load: Load, tmp_path: Path) -> None:
        inputs = [value(name, TensorProto.FLOAT, "batch", 2) for name in ("a", "b")]
        node = helper.make_node("Sub", ["a", "b"], ["difference"])
        save(tmp_path, helper.make_graph([node], "s", inputs, [value("difference", 1, "batch", 2)]))
        names = [Tensor("b", "FP32", (2,)), Tensor("a", "FP32", (2,))]  # in another order than the graph
        step = load(config(names, [Tensor("difference", "FP32", (2,))]))
        first, second = step.run(
            InferenceRequest(a=rows(5), b=rows(1)), InferenceRequest(b=rows(2), a=rows(9))
        )
        assert arrays(first)["difference"].tolist() == [[4, 4]]
        assert arrays(second)["difference"].tolist() == [[7, 7]]

    @pytest.mark.parametrize("threads", ["1", "3"])
    def test_a_request_that_the_runtime_fails_on_fails_alone(
        self, load: Load, tmp_path: Path, threads: str
    ) -> None:
        save(tmp_path, look_up())
        parameters = {"intra_op_thread_count": threads}
        tensors = [Tensor("index", "INT64", (1,))], [Tensor("found", "FP32", (1,))]
        step = load(config(*tensors, parameters=parameters))
        indices = [[[0]], [[99]], [[2], [1]]]
        requests = [InferenceRequest(index=np.array(index, np.int64)) for index in indices]
        first, bad, last = step.run(*requests)
        code, message = fault(bad)
        assert code == TritonError.INTERNAL
        assert "out of" in message
        assert arrays(first)["found"].tolist() == [[10]]
        assert arrays(last)["found"].tolist() == [[12], [11]]


class TestWithoutBatching:
    """max_batch_size 0: axis 0 is the model's own."""

    def test_requests_of_any_shape_are_run_one_by_one(self, load: Load, graph: Path) -> None:
        dims = (-1, -1)
        tensors = [Tensor("x", "FP32", dims)], [Tensor("double", "FP32", dims)]
        step = load(config(*tensors, 0, {"intra_op_thread_count": "2"}))
        recorder = record(step)
        sent = [rows(1, 2, width=3), rows(3, width=5), rows(4, width=1)]
        answers = step.run(*(InferenceRequest(x=x) for x in sent))
        assert (recorder.batches, recorder.beside) == ([2, 1, 1], [])
        for x, answer in zip(sent, answers, strict=True):
            np.testing.assert_array_equal(arrays(answer)["double"], x + x)


class TestFewShapes:
    """`batch_sizes`: runs are filled up to one of these, and each shape has a session that sees no other."""

    def load(self, load: Load, sizes: str, **parameters: str) -> tuple[Step, Any]:
        step = load(config(parameters={"batch_sizes": sizes, **parameters}))
        return step, step.model._runner

    @pytest.mark.parametrize(
        ("counts", "runs"),
        [
            ([1], [1]),
            ([3], [4]),
            ([1, 2, 1], [4]),
            ([5], [8]),
            ([8, 8, 3], [8, 8, 4]),
            ([2], [2]),
        ],
    )
    def test_a_batch_is_filled_up_or_split_and_filled_rows_are_not_answered(
        self, load: Load, graph: Path, counts: list[int], runs: list[int]
    ) -> None:
        step, plans = self.load(load, "1,2,4,8")
        sent = [rows(*range(1, count + 1)) for count in counts]
        for x, answer in zip(sent, step.run(*(InferenceRequest(x=x) for x in sent)), strict=True):
            np.testing.assert_array_equal(arrays(answer)["double"], x + x)
            np.testing.assert_array_equal(arrays(answer)["square"], x * x)
        assert [shape for (shape,) in plans._sessions] == [
            (size, 2) for size in sorted(set(runs), reverse=True)
        ]

    def test_the_shapes_of_the_config_are_warm_before_the_first_request(
        self, load: Load, graph: Path
    ) -> None:
        _, plans = self.load(load, "1,4", warm="3 5")
        assert [shape for (shape,) in plans._sessions] == [(1, 3), (1, 5), (4, 3), (4, 5)]

    def test_a_graph_that_cannot_be_run_is_refused_at_load(self, load: Load, tmp_path: Path) -> None:
        nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
        shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 7])
        tensors = [value("x", TensorProto.FLOAT, "batch", "n")], [value("y", TensorProto.FLOAT, "rows", 7)]
        save(tmp_path, helper.make_graph(nodes, "sevens", *tensors, [shape]))
        odd = config([X], [Tensor("y", "FP32", (7,))], parameters={"batch_sizes": "1", "warm": "3"})
        with pytest.raises(TritonModelException, match="onnx runtime error"):
            load(odd)


class Memory:
    """A GPU's, shared by the sessions of a process: each takes its rows once, and its rows again while it runs."""

    def __init__(self, rows: int) -> None:
        self.left, self.free = rows, 0

    def open(self, feed: Mapping[str, Floats] | None) -> "Memory.Session":
        return Memory.Session(self, 0 if feed is None else len(feed["x"]))

    class Session:
        def __init__(self, memory: "Memory", rows: int) -> None:
            self.memory, self.rows = memory, 0
            self.rows = memory.take(rows)

        def __del__(self) -> None:
            self.memory.left += self.rows

        def run(
            self, _: Sequence[str], feed: Mapping[str, Floats], giving_back: object = None
        ) -> list[Floats]:
            try:
                taken = self.memory.take(len(feed["x"]))
                self.memory.left += taken
            finally:
                if giving_back:
                    self.memory.left, self.memory.free = self.memory.left + self.memory.free, 0
            return [2 * feed["x"]]

    def take(self, rows: int) -> int:
        if rows > self.left:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 1")
        self.left -= rows
        return rows


class TestTooLittleMemory:
    @pytest.fixture
    def plans(self, load: Load) -> Any:
        """The backend's module: importing it needs the stand-in for Triton's own."""
        return importlib.import_module("backends.onnxruntime.plans")

    @pytest.mark.parametrize("sizes", [[1, 2, 4, 8], []])
    @pytest.mark.parametrize("memory", [2, 3, 7, 100])
    def test_a_request_is_run_in_smaller_pieces_until_it_fits(
        self, plans: Any, sizes: list[int], memory: int
    ) -> None:
        runner = plans.Plans(Memory(memory).open, ["double"], sizes, 8)
        for x in (rows(1), rows(*range(8)), rows(*range(5), width=3), rows(*range(8))):
            ((answer,),) = runner.run([{"x": x}])
            np.testing.assert_array_equal(answer, 2 * x)

    def test_other_shapes_are_given_up_before_a_request_is(self, plans: Any) -> None:
        runner = plans.Plans(Memory(5).open, ["double"], [1, 2], 2)
        for width in (1, 2, 3, 4, 5, 6):
            runner.run([{"x": rows(1, width=width)}])
        runner.run([{"x": rows(1, width=6)}])
        assert [shape for (shape,) in runner._sessions] == [(1, 3), (1, 4), (1, 5), (1, 6)]

    def test_an_arena_that_holds_what_is_free_gives_it_back(self, plans: Any) -> None:
        arena = Memory(2)
        arena.left, arena.free = 1, 1
        runner = plans.Plans(arena.open, ["double"], [], 2, giving_back="yes")
        ((answer,),) = runner.run([{"x": rows(1, 2)}])
        np.testing.assert_array_equal(answer, 2 * rows(1, 2))
        assert not runner._limits, "it was run in one piece"

    def test_a_single_item_is_given_what_is_free_each_time(self, plans: Any) -> None:
        arena = Memory(2)
        runner = plans.Plans(arena.open, ["double"], [1], 1, giving_back="yes")
        for _ in range(3):
            runner.run([{"x": rows(1)}])
            arena.left, arena.free = 0, arena.left + arena.free  # it lies in pieces

    def test_a_new_shape_has_its_session_in_the_place_of_the_least_used_ones(self, plans: Any) -> None:
        runner = plans.Plans(Memory(8).open, ["double"], [1, 2], 2)
        for width in (1, 2, 3, 4):
            runner.run([{"x": rows(1, 2, width=width)}])
        assert [shape for (shape,) in runner._sessions] == [(2, 3), (2, 4)]
        assert not runner._limits, "it is run as large as before"

    def test_a_large_run_that_does_not_fit_closes_no_session(self, plans: Any) -> None:
        arena = Memory(10)
        runner = plans.Plans(arena.open, ["double"], [1, 2], 2, giving_back="yes")
        runner.run([{"x": rows(1, 2)}, {"x": rows(1)}])
        shapes, runs = list(runner._sessions), []
        for _ in range(3):
            arena.left, arena.free = 0, arena.left + arena.free  # what is free lies in pieces
            runner.run([{"x": rows(1, 2)}])
            runs.append(dict(runner._limits))
        assert runs == [{}, {((2,),): 1}, {((2,),): 1}], (
            "smaller runs go in its place from the second time on"
        )
        assert shapes == [((2, 2),), ((1, 2),)]
        assert list(runner._sessions) == [((1, 2),)], "of its own it has no more use"

    def test_what_never_fits_is_an_error(self, plans: Any) -> None:
        with pytest.raises(plans.OutOfMemory, match="Failed to allocate"):
            plans.Plans(Memory(1).open, ["double"], [1], 8).run([{"x": rows(1)}])

    def test_a_transformer_is_warmed_in_its_one_session(self, plans: Any) -> None:
        runner = plans.Plans(Memory(100).open, ["double"], [], 2)
        runner.warm([{"x": rows(1)}])
        session = runner._sessions[()]
        runner.warm([{"x": rows(1, width=width)} for width in range(1, 9)])
        assert runner._sessions == {(): session}

    def test_warming_stops_where_the_memory_ends(self, plans: Any) -> None:
        runner = plans.Plans(Memory(5).open, ["double"], [1, 2], 2)
        assert runner.warm([{"x": rows(1, width=width)} for width in range(1, 9)]) == 4


class TestMemoryOfAServer:
    """What its graphs take of a GPU together."""

    @pytest.fixture
    def memory(self, load: Load) -> Any:
        return importlib.import_module("backends.onnxruntime.memory")

    def test_a_graph_for_which_too_little_is_left_is_refused_by_the_name_of_the_setting(
        self, memory: Any, tmp_path: Path
    ) -> None:
        with psutil.Popen(["sleep", "60"]) as other:
            (tmp_path / f"immich_triton_1_gpu_{other.pid}_3000").touch()
            (tmp_path / "immich_triton_2_gpu_1_9000").touch()  # another server's
            memory.claim(700, 4000, tmp_path, server=1)
            with pytest.raises(
                memory.TooLittle, match=r"others have 3956 of IMMICH_TRITON_GPU_MEMORY_MIB=4000"
            ):
                memory.claim(1, 4000, tmp_path, server=1)
            memory.release(tmp_path, server=1)
            other.kill()
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
            memory.claim(
                3700, 4000, tmp_path, server=1
            )  # what ended takes nothing, though nobody has asked for its end


class TestConfig:
    def test_the_session_has_the_options_of_the_config(self, load: Load, graph: Path) -> None:
        chosen = config(
            parameters={
                "intra_op_thread_count": "3",
                "inter_op_thread_count": "2",
                "enable_mem_pattern": "0",
            }
        )
        chosen.optimization.graph.level = 1
        plain, options = (
            load(each).model._runner.session.get_session_options() for each in (config(), chosen)
        )
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
        assert 1 <= plain.intra_op_num_threads <= len(os.sched_getaffinity(0))
        assert (plain.enable_mem_pattern, options.enable_mem_pattern) == (True, False)
        assert plain.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"

    @pytest.mark.parametrize(("priority", "lower"), [("MAX", 0), ("DEFAULT", 5)])
    def test_models_run_in_the_order_of_their_priorities(
        self, load: Load, graph: Path, priority: str, lower: int
    ) -> None:
        first = config()
        first.optimization.priority = first.optimization.ModelPriority.Value(f"PRIORITY_{priority}")

        def level() -> int:
            load(first)
            return os.nice(0)

        with ThreadPoolExecutor(1) as thread:  # a level is a thread's own, and cannot be taken back
            found = thread.submit(level).result()
        assert found == min(19, max(os.nice(0), os.getpriority(os.PRIO_PROCESS, os.getppid()) + lower))

    @pytest.mark.parametrize(
        ("asked", "width", "shrinks"), [("cpu:0", 2**21, True), ("cpu:0", 2, False), ("gpu:0", 2**21, False)]
    )
    def test_the_arena_shrinks_after_a_large_run_where_that_is_asked_for(
        self, load: Load, graph: Path, asked: str, width: int, shrinks: bool
    ) -> None:
        key = "memory.enable_memory_arena_shrinkage"
        step = load(config(parameters={key: asked}))
        recorder = record(step)
        (answer,) = step.run(InferenceRequest(x=rows(1, width=width)))
        (options,) = recorder.options
        assert (options.get_run_config_entry(key) if options else None) == ("cpu:0" if shrinks else None)
        assert arrays(answer)["double"][0, 0] == 2
