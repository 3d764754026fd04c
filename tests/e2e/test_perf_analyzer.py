"""NVIDIA's own load generator against the public models."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter.errors import SetupError
from adapter.preparation.catalog import DEMO, can_be_built
from adapter.protocol import PARTS, Part, TaskName, TypeName
from bench.perf_analyzer import app, read, run
from tests.support.shared import SHARED

HEAD = (
    "Concurrency,Inferences/Second,Server Queue,Server Compute Input,Server Compute Infer,Server Compute Output,"
    "p50 latency,p95 latency,p99 latency\n"
)


def test_the_queue_is_that_of_an_ensembles_steps(tmp_path: Path) -> None:
    (tmp_path / "figures.csv").write_text(
        f"{HEAD}2,40.0,9000,10,20,30,5000,7000,8000\n1,20.0,8000,10,20,30,4000,6000,7000\n"
    )
    for step, queue_us in (("a", 100), ("b", 200)):
        (tmp_path / f"{step}_v1.figures.csv").write_text(f"{HEAD}1,20.0,{queue_us},0,0,0,0,0,0\n")
    assert read(tmp_path) == [
        ["1", "20.0", "4.00", "6.00", "7.00", "0.30", "0.06"],
        ["2", "40.0", "5.00", "7.00", "8.00", "9.00", "0.06"],
    ]


def test_without_the_tool_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("PERF_ANALYZER", raising=False)
    with pytest.raises(SetupError, match="pip install perf-analyzer"):
        CliRunner().invoke(app, [], catch_exceptions=False)


def test_a_failure_is_told_in_the_tools_own_words(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho much\necho Error: cannot use >&2\nexit 1\n")
    tool.chmod(0o755)
    with pytest.raises(SetupError, match=r"-m a .* failed: Error: cannot use"):
        run(tmp_path, (str(tool), "-m", "a"), Part(TaskName.CLIP, TypeName.TEXTUAL, "demo-clip"))


@pytest.mark.triton
@pytest.mark.skipif(not can_be_built(TaskName.OCR), reason="the weights of demo-ocr are not installed")
def test_every_public_model_is_measured(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer") or f"{SHARED}/tools/perf-analyzer"
    try:
        subprocess.run([tool, "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"perf_analyzer does not run here: {error}")
    monkeypatch.setenv("PERF_ANALYZER", tool)
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(state))
    options = ["--concurrency-range", "1:1", "--request-count", "4"]
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, options, catch_exceptions=False)
    for task, kind in PARTS:
        assert re.search(rf"{DEMO[task]}.{kind} +1( +[\d.,]+){{6}}", done.output), done.output
