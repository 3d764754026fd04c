"""Every config.pbtxt that the generator writes, by Triton's own schema and along every arrow of the ensembles."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tritonclient.grpc.model_config_pb2 import TYPE_STRING

from adapter.preparation.repository import prepare
from adapter.protocol import Part, TaskName, TypeName
from tests.support import defaults
from tests.support.configs import faults, graph_faults, parse, read_repository
from tests.support.defaults import preparation_settings

pytestmark = pytest.mark.slow

OCR_RECOGNITION = Part(TaskName.OCR, TypeName.RECOGNITION, defaults.OCR)
FILES = {"onnxruntime": "model.onnx", "clip_tokenize": "tokenizer.json", "ocr_ctc": "charset.txt"}
"""What a backend needs in the version's folder."""

PUBLIC = {
    "visual": ({"image"}, {"embedding", "image_size"}),
    "textual": ({"text", "language"}, {"embedding"}),
    "detection": ({"image", "min_score"}, {"boxes", "scores", "image_size"}),
    "recognition": (set(), set()),
}
"""Tensors that an ensemble of each type has at least: inputs, outputs."""


class TestGenerated:
    def test_all_configs_are_whole_and_agree_with_each_other(self, repository: Path) -> None:
        configs = read_repository(repository)
        assert configs, "there is nothing to check"
        assert faults(configs) == []

    def test_every_model_has_the_files_that_its_backend_needs(self, repository: Path) -> None:
        for folder, text in read_repository(repository).items():
            assert (repository / folder / "1").is_dir()
            if file := FILES.get(parse(text).backend):
                assert (repository / folder / "1" / file).stat().st_size, folder

    def test_every_graph_agrees_with_its_config(self, repository: Path) -> None:
        graphs = sorted(repository.glob("*/1/model.onnx"))
        assert graphs, "there is nothing to check"
        found = [fault for graph in graphs for fault in graph_faults(graph)]
        assert found == []

    def test_public_models_have_the_tensors_that_callers_know(self, repository: Path) -> None:
        ensembles = [config for config in map(parse, read_repository(repository).values()) if config.platform]
        assert ensembles, "there is nothing to check"
        for config in ensembles:
            inputs, outputs = PUBLIC[config.name.rpartition(".")[2]]
            assert inputs <= {tensor.name for tensor in config.input}, config.name
            assert outputs <= {tensor.name for tensor in config.output}, config.name
            for tensor in config.input:
                if tensor.name in ("image", "text", "language"):
                    assert (tensor.data_type, list(tensor.dims)) == (TYPE_STRING, [1]), config.name


def test_the_committed_configs_are_whole_and_agree_with_each_other() -> None:
    assert faults(read_repository(defaults.COMMITTED)) == []


def mixing(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph such that an item of a batch depends on those before it: it cannot be batched."""
    name = graph.graph.input[0].name
    for node in graph.graph.node:
        node.input[:] = [f"{name}/mixed" if taken == name else taken for taken in node.input]
    graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "axis"))
    graph.graph.node.insert(0, helper.make_node("CumSum", [name, "axis"], [f"{name}/mixed"]))
    return graph


@pytest.mark.parametrize("part", [part for part in defaults.GRAPHS if part != OCR_RECOGNITION], ids=str)
def test_a_model_that_cannot_be_batched_is_wired_up_for_single_items(part: Part, tmp_path: Path) -> None:
    defaults.build_sources(tmp_path / "cache")
    source = tmp_path / "cache" / part.task / part.name
    graph = source / part.type / "model.onnx"
    graph.write_bytes(mixing(onnx.load(graph)).SerializeToString())
    repository = tmp_path / "model_repository"
    prepared = prepare(part, source, repository, preparation_settings())
    assert prepared.max_batch_size == 1
    assert prepared.notes[0].startswith("not batched: ")
    configs = read_repository(repository)
    assert {parse(text).max_batch_size for text in configs.values()} == {0}
    assert faults(configs) == []
    assert [fault for path in repository.glob("*/1/model.onnx") for fault in graph_faults(path)] == []
    batched = {name: dims[1:] for name, dims in outputs(configs[prepared.model]).items()}
    assert prepared.outputs == batched


def outputs(text: str) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in parse(text).output}
