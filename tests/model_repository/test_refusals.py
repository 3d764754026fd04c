"""Graphs that cannot be served with certainty are refused when they are prepared; the reason says what was found."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.graphs.proof import ProofFailed
from adapter.preparation.repository import prepare
from adapter.protocol import Part, TaskName, TypeName
from tests.support import defaults, standins
from tests.support.defaults import preparation_settings

Refused = Callable[[Part, onnx.ModelProto], str]

VISUAL = Part(TaskName.CLIP, TypeName.VISUAL, defaults.CLIP)
FACE_DETECTION = Part(TaskName.FACES, TypeName.DETECTION, defaults.FACES)
OCR_DETECTION = Part(TaskName.OCR, TypeName.DETECTION, defaults.OCR)
OCR_RECOGNITION = Part(TaskName.OCR, TypeName.RECOGNITION, defaults.OCR)


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Prepares a default model with another graph; gives the reason why that is refused."""

    def refused(part: Part, graph: onnx.ModelProto) -> str:
        defaults.build_sources(tmp_path / "cache")
        source = tmp_path / "cache" / part.task / part.name
        (source / part.type / "model.onnx").write_bytes(graph.SerializeToString())
        repository = tmp_path / "model_repository"
        with pytest.raises((RewriteError, ProofFailed)) as caught:
            prepare(part, source, repository, preparation_settings())
        assert list(repository.iterdir()) == []
        return str(caught.value)

    return refused


def test_a_face_detector_whose_heads_are_not_scrfds_is_refused_with_its_shapes(refused: Refused) -> None:
    graph = standins.face_detector()
    del graph.graph.output[8]
    reason = refused(FACE_DETECTION, graph)
    assert "not the heads of an SCRFD detector" in reason
    assert "(12800, 1), (3200, 1)" in reason


def test_a_text_recogniser_without_characters_is_refused(refused: Refused) -> None:
    graph = standins.text_recognizer()
    del graph.metadata_props[:]
    reason = refused(OCR_RECOGNITION, graph)
    assert "no characters" in reason
    assert "charset.txt" in reason


def test_a_text_detector_with_two_maps_is_refused(refused: Refused) -> None:
    graph = standins.text_detector()
    graph.graph.output.append(
        helper.make_tensor_value_info("ink", onnx.TensorProto.FLOAT, ["n", 1, "h", "w"])
    )
    assert "not one map" in refused(OCR_DETECTION, graph)


def test_an_encoder_without_a_vector_is_refused(refused: Refused) -> None:
    graph = standins.visual()
    graph.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 256], np.int64), "pair"))
    graph.graph.node.append(helper.make_node("Reshape", ["embedding", "pair"], ["vectors"]))
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("vectors", onnx.TensorProto.FLOAT, [1, 2, 256]))
    assert "no float32 vector" in refused(VISUAL, graph)


def test_a_picture_encoder_of_another_size_than_its_file_says_is_refused(refused: Refused) -> None:
    graph = standins.visual()
    graph.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 256
    assert "Got: 224 Expected: 256" in refused(VISUAL, graph)
