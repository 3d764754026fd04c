"""Graphs on disk: weights in files of their own stay there, and versions stay within what Triton loads."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from adapter.preparation.config import Tensor
from adapter.preparation.graphs.file import (
    RewriteError,
    declared_inputs,
    opset_of,
    put_weights_beside,
    read,
    write,
)
from adapter.preparation.graphs.proof import Session, difference
from tests.support.graphs import Graph, save


def perceptron(opset: int = 17, ir_version: int = 8) -> onnx.ModelProto:
    g = Graph(opset)
    g.op("Relu", g.linear(g.input("x", ["batch", 64]), 64, 32), output="y")
    g.output("y", ["batch", 32])
    return g.model(ir_version)


def save_apart(path: Path, location: str = "weights.bin") -> Path:
    """The perceptron with its weights in a file of their own."""
    path.parent.mkdir(parents=True)
    onnx.save_model(
        perceptron(),
        path,
        save_as_external_data=True,
        location=location,
        size_threshold=0,
        convert_attribute=False,
    )
    return path


def point_to(path: Path, location: str) -> None:
    """Lets the graph at `path` look for its weights elsewhere."""
    model = read(path)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    save(model, path)


def test_weights_are_put_into_a_file_of_their_own_once(tmp_path: Path) -> None:
    sample, path = (
        {"x": np.linspace(-1, 1, 64, dtype=np.float32)},
        save(perceptron(), tmp_path / "model.onnx"),
    )
    (before,), size = Session(path).alone([sample]), path.stat().st_size
    for _ in range(2):
        put_weights_beside(path)
        assert path.stat().st_size < size / 10
        assert (tmp_path / "model.onnx.data").stat().st_size == 64 * 32 * 4
        assert difference(before["y"], Session(path).alone([sample])[0]["y"]) == 0


def test_weights_in_a_file_of_their_own_are_linked_and_not_read(tmp_path: Path) -> None:
    source, target = save_apart(tmp_path / "source/model.onnx"), tmp_path / "target/model.onnx"
    model = read(source)
    assert not model.graph.initializer[0].raw_data
    write(model, target, source)
    assert (tmp_path / "target/weights.bin").samefile(tmp_path / "source/weights.bin")
    sample = {"x": np.linspace(-1, 1, 64, dtype=np.float32)}
    assert difference(Session(source).alone([sample])[0]["y"], Session(target).alone([sample])[0]["y"]) == 0


def test_weights_that_are_symbolic_links_as_in_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    source, target = save_apart(tmp_path / "source/model.onnx"), tmp_path / "target/model.onnx"
    weights = (tmp_path / "source/weights.bin").rename(tmp_path / "blob")
    (tmp_path / "source/weights.bin").symlink_to(weights)
    write(read(source), target, source)
    assert (tmp_path / "target/weights.bin").samefile(weights)
    assert not (tmp_path / "target/weights.bin").is_symlink()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    source = save_apart(tmp_path / "source/model.onnx")
    (tmp_path / "source/weights.bin").unlink()
    with pytest.raises(RewriteError, match=r"weights are missing: .*weights\.bin"):
        write(read(source), tmp_path / "target/model.onnx", source)
    assert not (tmp_path / "target/model.onnx").exists()


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "a/../../secret", "..\\secret", ""])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    source = save_apart(tmp_path / "source/model.onnx")
    point_to(source, location)
    with pytest.raises(RewriteError, match="outside the graph's folder"):
        write(read(source), tmp_path / "target/model.onnx", source)


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1"]
)
def test_what_is_not_a_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(RewriteError, match="not an ONNX graph"):
        read(tmp_path / "model.onnx")


def test_a_graph_that_does_not_tell_its_opset_is_refused() -> None:
    model = perceptron()
    del model.opset_import[:]
    with pytest.raises(RewriteError, match="which opset"):
        opset_of(model)


def test_inputs_are_told_in_tritons_words_and_weights_are_none_of_them() -> None:
    model = perceptron()
    model.graph.input.append(helper.make_tensor_value_info("w0", TensorProto.FLOAT, [64, 32]))
    assert declared_inputs(model) == (Tensor("x", "FP32", (-1, 64)),)
