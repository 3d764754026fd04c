"""`scripts/bench`: its loads, and the command on the real service and on its models in one process."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from adapter.compare.pictures import page
from adapter.compare.processes import name_of
from adapter.compare.workload import IMMICHS_MODELS, Kind, build
from adapter.preparation.catalog import can_be_built
from adapter.protocol import Part, TaskName, TypeName
from bench.__main__ import app
from bench.run import SEARCH, parts_of, preload
from demo.show.faces import draw_crowd


def test_each_part_that_is_needed_is_preloaded_by_immichs_own_variable() -> None:
    parts = parts_of(build([Kind.GROUPS], IMMICHS_MODELS, {Kind.GROUPS: {"one": b""}}))
    kinds = TypeName.DETECTION, TypeName.RECOGNITION
    assert parts == [Part(TaskName.FACES, kind, "buffalo_l") for kind in kinds]
    assert preload(parts)["MACHINE_LEARNING_PRELOAD__FACIAL_RECOGNITION__DETECTION"] == "buffalo_l"


def test_a_stub_is_named_by_its_model() -> None:
    command = "/run/triton_python_backend_stub /repository/a/1/model.onnx region 336 a_1_2.detection_0_0 /run/backends"
    assert name_of("triton_python_b", command.split()) == "a_1_2.detection"


def test_a_wrong_concurrency_is_named() -> None:
    result = CliRunner().invoke(app, ["--concurrency", "1,none"])
    assert result.exit_code == 2
    assert "looks like 1,16" in result.output


@pytest.mark.triton
@pytest.mark.skipif(not can_be_built(TaskName.OCR), reason="the weights of demo-ocr are not installed")
def test_the_service_and_one_process_give_the_same_answers(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(state))
    Image.fromarray(draw_crowd()).resize((480, 360)).save(tmp_path / "people.png")  # it does not take long
    page(["Harbour Office", "14 March"], (480, 240), 38).save(tmp_path / "page.png")
    options = ["--clip", "demo-clip", "--faces", "demo-face", "--pictures", str(tmp_path)]
    options += ["--concurrency", "2", "--duration", "0.1", "--rounds", "1"]
    result = CliRunner().invoke(app, [*options, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    compared = found["comparison"]
    assert [(one["kind"], one["differing"]) for one in compared["answers"]] == [(kind, 0) for kind in Kind]
    assert [(one["kind"], bool(one["beside"])) for one in compared["speeds"]] == [
        *((kind, False) for kind in Kind),
        *((kind, True) for kind in SEARCH),
    ]
    for one in compared["speeds"]:
        for side in ("ours", "theirs"):
            assert (one[side]["answered"] > 0, one[side]["failed"], one[side]["faults"]) == (True, 0, [])
        assert one["ours"]["cpu_ms"] > 0
        assert one["theirs"]["cpu_ms"] is None
    for memory_mb in (found["at_rest_mb"], found["after_loads_mb"]):
        assert {"adapter", "tritonserver", "demo-clip.visual.encoder"} <= set(memory_mb)
