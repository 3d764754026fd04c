"""NVIDIA's own load generator against the public models."""

import os
import re
import shutil
import struct
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from adapter.errors import SetupError
from adapter.protocol import Part, TaskName, TypeName
from bench.perf_analyzer import app, inputs, read
from tests.support.shared import SHARED

HEAD = (
    "Concurrency,Inferences/Second,Server Queue,Server Compute Input,Server Compute Infer,Server Compute Output,"
    "p50 latency,p95 latency,p99 latency\n"
)
SHORT = ("--measurement-interval", "500", "--stability-percentage", "999")


def test_the_input_has_the_length_that_triton_wants_before_each_element() -> None:
    first, *_ = inputs(Part(TaskName.CLIP, TypeName.TEXTUAL, "demo-clip"))
    content = b64decode(cast("Any", first["text"])["b64"])
    assert struct.unpack("<I", content[:4]) == (len("sunset"),)
    assert content[4:] == b"sunset"


def test_the_queue_is_that_of_an_ensembles_steps(tmp_path: Path) -> None:
    (tmp_path / "figures.csv").write_text(
        f"{HEAD}2,40.0,9000,10,20,30,5000,7000,8000\n1,20.0,8000,10,20,30,4000,6000,7000\n"
    )
    for step, queue_us in (("a", 100), ("b", 200)):
        (tmp_path / f"{step}_v1.figures.csv").write_text(f"{HEAD}1,20.0,{queue_us},0,0,0,0,0,0\n")
    assert list(read(tmp_path)) == [
        ["1", "20.0", "4.00", "6.00", "7.00", "0.30", "0.06"],
        ["2", "40.0", "5.00", "7.00", "8.00", "9.00", "0.06"],
    ]


def test_without_the_tool_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("PERF_ANALYZER", raising=False)
    with pytest.raises(SetupError, match="pip install perf-analyzer"):
        CliRunner().invoke(app, [], catch_exceptions=False)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = (
        os.environ.get("PERF_ANALYZER")
        or shutil.which("perf_analyzer")
        or str(SHARED / "tools/perf-analyzer")
    )
    try:
        subprocess.run([found, "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"perf_analyzer does not run here: {error}")
    monkeypatch.setenv("PERF_ANALYZER", found)
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path))


@pytest.mark.triton
@pytest.mark.usefixtures("tool")
def test_every_public_model_is_measured() -> None:
    done = CliRunner(env={"COLUMNS": "120"}).invoke(
        app, ["--concurrency-range", "1:1", "--request-count", "8"], catch_exceptions=False
    )
    for model in ("demo-clip.visual", "demo-clip.textual", "demo-face.detection", "demo-face.recognition"):
        assert re.search(rf"{model} +1( +[\d.,]+){{6}}", done.output), done.output


@pytest.mark.triton
@pytest.mark.usefixtures("tool")
def test_a_range_of_concurrencies_has_a_row_each_and_a_failure_is_told_in_the_tools_own_words() -> None:
    options = ["--task", "clip", "--concurrency-range", "1:3:2"]
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*options, *SHORT], catch_exceptions=False)
    assert re.findall(r"demo-clip.textual +(\d)", done.output) == ["1", "3"]
    with pytest.raises(SetupError, match="Error: Cannot use"):
        CliRunner().invoke(app, [*options, "--request-rate-range", "9"], catch_exceptions=False)
