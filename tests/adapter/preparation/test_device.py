"""What is written for a GPU, and for many hands."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from adapter.preparation.graphs.file import read
from adapter.preparation.repository import prepare
from adapter.preparation.triton_models.shared import CPU_BATCH, STEP_BACKENDS
from adapter.settings import GPU_MEMORY_MIB
from backends.onnxruntime.memory import PROCESS_MIB
from tests.support import defaults
from tests.support.configs import faults, graph_faults, parse, read_repository
from tests.support.defaults import preparation_settings

pytestmark = pytest.mark.slow

KIND_GPU, KIND_CPU = 1, 2  # of ModelInstanceGroup
PRIORITY_MAX = 1  # of ModelOptimizationPolicy
OCR = ("PP-OCRv5_mobile.detection.detector", "PP-OCRv5_mobile.recognition.recognizer")
FIXED = (
    "ViT-B-32__openai.visual.encoder",
    "ViT-B-32__openai.textual.encoder",
    "buffalo_l.detection.detector",
    "buffalo_l.recognition.encoder",
)

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes the default models by settings, once, into a repository of their own."""
    cache = tmp_path_factory.mktemp("cache")
    defaults.build_sources(cache)

    @lru_cache
    def write(**chosen: Any) -> Path:
        repository = tmp_path_factory.mktemp("state") / "model_repository"
        for part in defaults.GRAPHS:
            prepare(part, cache / part.task / part.name, repository, preparation_settings(**chosen))
        return repository

    return write


@pytest.fixture(scope="module")
def gpu(write: Write) -> Path:
    return write(device="gpu", gpu_instances=2, gpu_memory_mib=12288, step_processes=5)


def config(repository: Path, model: str) -> Any:
    return parse((repository / model / "config.pbtxt").read_text())


def half_weights(graph: Path) -> bool:
    return any(weight.data_type == TensorProto.FLOAT16 for weight in read(graph).graph.initializer)


def parameters(repository: Path, model: str) -> dict[str, str]:
    found = config(repository, model).parameters
    return {key: value.string_value for key, value in found.items()}


def test_the_configs_are_whole_and_fit_their_graphs(gpu: Path) -> None:
    assert faults(read_repository(gpu)) == []
    for graph in sorted(gpu.glob("*/1/model.onnx")):
        assert graph_faults(graph) == []


def test_graphs_run_on_the_first_gpu_and_python_steps_stay_on_the_cpu(gpu: Path) -> None:
    for model in read_repository(gpu):
        for group in config(gpu, model).instance_group:
            if model in (*OCR, *FIXED):
                assert (group.kind, group.count, list(group.gpus)) == (KIND_GPU, 2, [0])
            else:
                assert group.kind == KIND_CPU


def test_steps_that_have_pictures_in_their_hands_are_many_and_take_one_request_each(gpu: Path) -> None:
    configs = [config(gpu, folder) for folder in read_repository(gpu)]
    steps = {step.backend: step for step in configs if step.backend in STEP_BACKENDS}
    assert steps.keys() == STEP_BACKENDS
    for step in steps.values():
        assert (step.instance_group[0].count, step.HasField("dynamic_batching")) == (5, False)
    (tokenize,) = [step for step in configs if step.backend == "clip_tokenize"]
    assert (tokenize.instance_group[0].count, tokenize.HasField("dynamic_batching")) == (1, True)


@pytest.mark.parametrize("model", [*OCR, *FIXED[2:]])
def test_convolutions_run_in_few_shapes_and_no_more_than_a_batch_may_hold(gpu: Path, model: str) -> None:
    largest = config(gpu, model).max_batch_size
    sizes = [int(size) for size in parameters(gpu, model)["batch_sizes"].split(",")]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert sizes[-1] <= largest


def test_transformers_take_any_batch_and_every_length_is_warm(gpu: Path) -> None:
    for model in FIXED[:2]:
        assert "batch_sizes" not in parameters(gpu, model)
    lengths = parameters(gpu, "ViT-B-32__openai.textual.tokenize")["buckets"].split(",")
    assert parameters(gpu, FIXED[1])["warm"].split() == [*lengths, "77"]


@pytest.mark.parametrize(("precision", "in_tf32"), [("fp32", OCR), ("fp16", OCR), ("tf32", (*OCR, *FIXED))])
def test_text_is_read_in_tf32_and_vectors_are_exact_unless_it_is_said_of_all(
    write: Write, precision: str, in_tf32: tuple[str, ...]
) -> None:
    repository = write(device="gpu", precision=precision)
    found = [model for model in (*OCR, *FIXED) if parameters(repository, model)["use_tf32"] == "1"]
    assert found == list(in_tf32)


def test_the_default_models_fit_into_the_default_limit_together(write: Write) -> None:
    repository = write(device="gpu")
    found = [parameters(repository, model) for model in (*OCR, *FIXED)]
    weights_mib = 352 + 254 + 3 * 17 + 3 * 174 + 18 * 5 + 24 * 16  # of the published graphs
    taken = sum(int(each["gpu_memory_mib"]) + PROCESS_MIB for each in found)
    assert {each["gpu_memory_limit_mib"] for each in found} == {str(GPU_MEMORY_MIB)}
    assert taken + weights_mib < GPU_MEMORY_MIB


def test_faces_are_batched_as_the_setting_says_and_on_a_cpu_no_further_than_it_gains(
    gpu: Path, write: Write
) -> None:
    assert config(gpu, FIXED[3]).max_batch_size == preparation_settings().max_batch_size_faces
    assert config(write(), FIXED[3]).max_batch_size == CPU_BATCH
    few = write(max_batch_size_faces=3)
    assert config(few, FIXED[3]).max_batch_size == config(few, "buffalo_l.recognition").max_batch_size == 3


def test_a_gpu_sees_few_shapes_of_pages_and_lines_and_a_cpu_each_as_it_comes(gpu: Path, write: Write) -> None:
    shapes = [
        (
            parameters(folder, "PP-OCRv5_mobile.detection.preprocess")["canvas_aspects"],
            parameters(folder, "PP-OCRv5_mobile.detection.postprocess")["widths"],
        )
        for folder in (write(), gpu)
    ]
    assert shapes == [("", ""), ("1,4/3,3/2,16/9,2", "224,320,448,640,1280,2048")]


def test_a_search_goes_before_indexing(gpu: Path, write: Write) -> None:
    for folder in (gpu, write()):
        priorities = {model: config(folder, model).optimization.priority for model in (*FIXED, *OCR)}
        assert [model for model, priority in priorities.items() if priority == PRIORITY_MAX] == [FIXED[1]]


def test_only_encoders_are_halved_and_optimised_as_they_were_measured(write: Write) -> None:
    repository = write(device="gpu", precision="fp16")
    assert faults(read_repository(repository)) == []
    for model in FIXED:
        level = config(repository, model).optimization.graph.level
        assert level == (1 if model.endswith("encoder") else 0), model
    kinds = {model: half_weights(repository / model / "1/model.onnx") for model in (*FIXED, *OCR)}
    assert [model for model, half in kinds.items() if half] == [
        model for model in FIXED if model.endswith("encoder")
    ]
