"""NVIDIA's own load generator against the public ensembles."""

import asyncio
import csv
import struct
import subprocess
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from adapter import cli, settings
from adapter.commands.perf_analyzer import choose
from adapter.errors import SetupError
from adapter.protocol import Part, TaskName, TypeName
from adapter.settings import Settings
from bench.perf_analyzer.inputs import input_data
from bench.perf_analyzer.measuring import Measured, measure
from bench.perf_analyzer.tool import find_tool

TEXTUAL = Part(TaskName.CLIP, TypeName.TEXTUAL, "demo-clip")
FEW = ("--concurrency-range", "1:1", "--request-count", "8")
SHORT = ("--measurement-interval", "500", "--stability-percentage", "999")


def test_the_input_file_has_the_length_that_triton_wants_before_each_element() -> None:
    data = cast("dict[str, list[dict[str, Any]]]", input_data(TEXTUAL))["data"]
    content = b64decode(data[1]["text"]["b64"])
    assert struct.unpack("<I", content[:4]) == (len("sunset"),)
    assert content[4:] == b"sunset"


def test_without_a_name_the_models_of_the_demo_are_measured_and_else_what_is_named() -> None:
    assert {part.name for part in choose({})} == {"demo-clip", "demo-face", "demo-ocr"}
    named = choose({TaskName.CLIP: None, TaskName.FACES: "buffalo_l"})
    assert [str(part) for part in named] == [
        "buffalo_l (facial-recognition detection)",
        "buffalo_l (facial-recognition recognition)",
    ]


@pytest.fixture
def runnable(tmp_path: Path) -> None:
    try:
        tool = find_tool(tmp_path)
    except SetupError as error:
        pytest.skip(str(error))
    trial = subprocess.run([*tool, "--version"], capture_output=True, text=True)
    if trial.returncode:
        pytest.skip(f"{' '.join(tool)} does not run here: {trial.stderr.strip()[-200:]}")


@pytest.mark.triton
@pytest.mark.usefixtures("runnable")
def test_perf_analyzer_runs_against_the_ensembles(tmp_path: Path) -> None:
    chosen, log = settings.load(state_folder=tmp_path), tmp_path / "log"
    parts = choose({})
    measured = asyncio.run(collect(chosen, parts, FEW, log))
    assert [one.model for one in measured] == [f"{part.name}.{part.type}" for part in parts]
    for one in measured:
        assert one.trouble is None, log.read_text()
        (figures,) = one.figures
        assert 0 < figures.p50_ms <= figures.p99_ms
        assert figures.queue_ms > 0
        assert figures.compute_ms > 0
    assert log.read_text().count("Throughput:") == len(parts)
    assert "Failed requests" not in log.read_text()


@pytest.mark.triton
@pytest.mark.usefixtures("runnable")
def test_a_range_of_concurrencies_becomes_a_table_and_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path))
    options = ("--clip", "demo-clip", "--type", "textual", "--output", str(tmp_path / "out"), *SHORT)
    done = CliRunner().invoke(cli.app, ["perf-analyzer", "--concurrency-range", "1:3:2", *options])
    assert done.exit_code == 0, done.output
    assert "demo-clip.textual" in done.output
    with (tmp_path / "out/perf_analyzer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["concurrency"]) for row in rows] == [
        ("demo-clip.textual", "1"),
        ("demo-clip.textual", "3"),
    ]
    assert float(rows[1]["per_second"]) > 0
    assert "demo-clip.textual" in (tmp_path / "out/perf_analyzer.svg").read_text()


@pytest.mark.triton
@pytest.mark.usefixtures("runnable")
def test_a_run_that_fails_is_told_in_perf_analyzers_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path))
    options = (
        "--clip",
        "demo-clip",
        "--type",
        "textual",
        "--output",
        str(tmp_path),
        "--request-rate-range",
        "9",
    )
    done = CliRunner().invoke(cli.app, ["perf-analyzer", *options])
    assert isinstance(done.exception, SetupError)
    assert "demo-clip.textual: Error: Cannot use" in str(done.exception)
    assert not (tmp_path / "perf_analyzer.csv").exists()


async def collect(
    chosen: Settings, parts: Sequence[Part], options: Sequence[str], log: Path
) -> list[Measured]:
    return [one async for one in measure(chosen, parts, options, log)]
