"""The command, on the real service and on the same models in one process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from adapter import cli
from demo.models import ocr
from demo.show.faces import draw_crowd
from demo.show.page import draw_page

KINDS = {"picture", "group", "text"} | ({"page"} if ocr.is_installed() else set())
MIXES = ["pictures", "groups", "texts", *(["pages"] if ocr.is_installed() else [])]


def bench(folder: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command; the figures that it wrote."""
    models = ("--clip", "demo-clip", "--faces", "demo-face", "--state", str(folder / "state"))
    files = ("--json", str(folder / "out" / "bench.json"), "--html", str(folder / "bench.html"))
    result = CliRunner().invoke(cli.app, ["bench", *models, *files, *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures: dict[str, Any] = json.loads((folder / "out" / "bench.json").read_text())
    return figures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two, so that it does not take long: people, and a page of two lines."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(draw_crowd()).save(folder / "people.png")
    Image.fromarray(draw_page(["Harbour Office", "14 March"], (480, 240), font_size=38)).save(
        folder / "page.png"
    )
    return folder


@pytest.mark.triton
def test_the_service_and_one_process_give_the_same_answers(tmp_path: Path, pictures: Path) -> None:
    mixes = [argument for mix in MIXES for argument in ("--mix", mix)]
    found = bench(
        tmp_path,
        *(*mixes, "--concurrency", "2", "--duration", "0.2", "--warm-up", "0.1", "--rounds", "1"),
        *("--baseline", "in-process", "--pictures", str(pictures)),
    )
    assert {difference["kind"] for difference in found["differences"]} == KINDS
    for difference in found["differences"]:
        assert difference["equal"] == difference["compared"] > 0, difference
    assert [run["target"] for run in found["runs"]] == ["served", "in-process"] * len(MIXES)
    for run in found["runs"]:
        for latency in run["kinds"].values():
            assert (latency["answered"] > 0, latency["failed"], latency["faults"]) == (True, 0, [])
        assert run["peak_memory_mb"] > 0
        assert sum(process["cpu_s"] for process in run["processes"]) > 0
        assert bool(run["stages"]) == (run["target"] == "served")
    resting = {process["name"] for process in found["resting_memory"]}
    assert {"adapter", "tritonserver", "demo-clip.visual.encoder"} <= resting
    assert found["graphs_mb"] > 1
    assert "<html" in (tmp_path / "bench.html").read_text()


def test_a_wrong_concurrency_is_named() -> None:
    result = CliRunner().invoke(cli.app, ["bench", "--concurrency", "1,none"])
    assert result.exit_code == 2
    assert "looks like 1,16" in result.output


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    program = "import sys; sys.modules['psutil'] = None; from adapter.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", program, "bench"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "psutil is missing" in ended.stderr
    assert "pip install 'immich-triton[bench]'" in ended.stderr
