"""The checks of the configs: each fault is put where there is none, and must be found."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.text_format import ParseError  # type: ignore[import-untyped]

from adapter.preparation.config import Model, Step, Tensor
from tests.support.configs import faults, graph_faults, parse, rendered

IN, HALFWAY, OUT = Tensor("x", "FP32", (3,)), Tensor("y", "FP32", (4, -1)), Tensor("z", "INT64", (1,))
FIRST = Model("m.first", "", [IN], [HALFWAY], backend="face_preprocess")
SECOND = Model("m.second", "", [HALFWAY], [OUT], backend="face_postprocess")
WHOLE = Model(
    "m",
    "",
    [IN],
    [OUT],
    steps=[Step("m.first", {"x": "x"}, {"y": "y"}), Step("m.second", {"y": "y"}, {"z": "z"})],
)


def _with_first(step: Step) -> Model:
    """The ensemble with another first step."""
    return replace(WHOLE, steps=[step, *WHOLE.steps[1:]])


class TestWiring:
    def test_a_right_repository_has_none(self) -> None:
        assert faults(rendered(FIRST, SECOND, WHOLE)) == []

    @pytest.mark.parametrize(
        ("models", "fault"),
        [
            ([replace(FIRST, outputs=[replace(HALFWAY, type="FP16")]), SECOND, WHOLE], "but m.second takes"),
            ([FIRST, replace(SECOND, max_batch_size=4), WHOLE], "larger batches than m.second"),
            ([FIRST, WHOLE], "there is no model m.second"),
            ([FIRST, SECOND, replace(WHOLE, steps=WHOLE.steps[:1])], "the output z is"),
            (
                [
                    replace(FIRST, outputs=[HALFWAY, OUT]),
                    SECOND,
                    _with_first(Step("m.first", {"x": "x"}, {"y": "y", "z": "u"})),
                ],
                "nobody takes ['u']",
            ),
            (
                [FIRST, SECOND, _with_first(Step("m.first", {"x": "x"}, {"y": "y", "q": "q"}))],
                "m.first has no output q",
            ),
            (
                [FIRST, SECOND, _with_first(Step("m.first", {"x": "x", "q": "x"}, {"y": "y"}))],
                "is given ['q', 'x']",
            ),
            ([FIRST, SECOND, _with_first(Step("m.first", {"x": "x"}, {"y": "x"}))], "x is made twice"),
            ([replace(FIRST, backend="face_process"), SECOND, WHOLE], "no backend 'face_process'"),
            ([replace(FIRST, inputs=[replace(IN, dims=())]), SECOND, WHOLE], "lacks its name, type or dims"),
            ([replace(FIRST, inputs=[replace(IN, dims=(0,))]), SECOND, WHOLE], "has dims [0]"),
            ([FIRST, replace(SECOND, outputs=[]), WHOLE], "there is no output"),
        ],
    )
    def test_each_fault_is_named(self, models: list[Model], fault: str) -> None:
        assert any(fault in found for found in faults(rendered(*models))), faults(rendered(*models))

    @pytest.mark.parametrize(
        ("written", "instead", "fault"),
        [
            ("max_batch_size: 8\n", "", "max_batch_size is not written out"),
            ("dynamic_batching { }\n", "", "dynamic_batching does not go with max_batch_size"),
            ("instance_group [ { kind: KIND_CPU, count: 1 } ]\n", "", "instance_group is not written out"),
            ('name: "m.first"', 'name: "m.other"', "is called m.other"),
        ],
    )
    def test_what_is_not_written_out_is_named(self, written: str, instead: str, fault: str) -> None:
        texts = rendered(FIRST, SECOND, WHOLE)
        assert written in texts["m.first"]
        texts["m.first"] = texts["m.first"].replace(written, instead, 1)
        assert f"m.first: {fault}" in faults(texts)

    def test_a_field_that_triton_does_not_know_is_refused(self) -> None:
        with pytest.raises(ParseError, match="max_batchsize"):
            parse('name: "m"\nmax_batchsize: 8\n')


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("TYPE_UINT8", "TYPE_INT32"),
        ("dims: [ 224,", "dims: [ 225,"),
        ("dims: [ 512 ]", "dims: [ -1 ]"),
        ("max_batch_size: 8", "max_batch_size: 0"),
    ],
)
def test_a_config_that_does_not_fit_its_graph_is_found(
    make_repository: Callable[[str], Path], tmp_path: Path, written: str, instead: str
) -> None:
    encoder = shutil.copytree(make_repository("defaults") / "ViT-B-32__openai.visual.encoder", tmp_path / "m")
    assert not graph_faults(encoder / "1/model.onnx")
    text = (encoder / "config.pbtxt").read_text()
    assert written in text
    (encoder / "config.pbtxt").write_text(text.replace(written, instead))
    assert graph_faults(encoder / "1/model.onnx")
