"""NVIDIA's own load generator against the public ensembles."""

import asyncio
import struct
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any, cast

import pytest

from adapter import perf_analyzer, settings
from adapter.errors import SetupError
from adapter.models.demo import ocr
from adapter.models.families import FAMILIES
from adapter.protocol import Part, TaskName, TypeName

TEXTUAL = Part(TaskName.CLIP, TypeName.TEXTUAL, "demo-clip")
NAMES = {TaskName.CLIP: "demo-clip", TaskName.FACES: "demo-face", TaskName.OCR: "demo-ocr"}
DEMO = [
    Part(task, kind, NAMES[task]) for task, kind in FAMILIES if task is not TaskName.OCR or ocr.is_installed()
]
SHORT = ("--measurement-interval", "500", "--max-trials", "6", "--stability-percentage", "999")


def test_the_input_file_has_the_length_that_triton_wants_before_each_element() -> None:
    data = cast("dict[str, list[dict[str, Any]]]", perf_analyzer.input_data(TEXTUAL))["data"]
    content = b64decode(data[1]["text"]["b64"])
    assert struct.unpack("<I", content[:4]) == (len("sunset"),)
    assert content[4:] == b"sunset"


@pytest.mark.triton
def test_perf_analyzer_runs_against_the_ensembles(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        binary = perf_analyzer.find_binary()
    except SetupError as error:
        pytest.skip(str(error))
    trial = subprocess.run([binary, "--version"], capture_output=True, text=True)
    if trial.returncode:
        pytest.skip(f"{binary} does not run here: {trial.stderr.strip()[-200:]}")
    capfd.readouterr()
    chosen = settings.load(state_folder=tmp_path)
    asyncio.run(perf_analyzer.measure(chosen, DEMO, SHORT))
    report = capfd.readouterr().out
    assert report.count("Throughput:") >= len(DEMO)
    assert "Failed requests" not in report
