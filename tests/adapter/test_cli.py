"""The command line: what it prints, and how it ends."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapter import cli
from adapter.cli.predict import tables
from adapter.errors import SetupError

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with folders of its own."""
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path))
    monkeypatch.setenv("IMMICH_LOG_LEVEL", "error")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


def test_every_command_says_what_it_does(run: Run) -> None:
    page = run("--help").stdout
    for command in ("serve", "doctor", "predict", "compare", "models", "settings", "version"):
        assert re.search(rf"{command} +\S", page)
        assert run(command, "--help").exit_code == 0


def test_the_command_line_loads_only_what_a_command_needs() -> None:
    heavy = "onnx onnxruntime cv2 tokenizers pyclipper numpy aiohttp PIL bench demo"
    program = f"import sys, adapter.cli; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []


def test_a_fault_ends_a_command_with_one_sentence() -> None:
    command = [sys.executable, "-m", "adapter", "predict", "--text", "a", "--url", "http://127.0.0.1:9"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(r"immich-triton: No answer from http://127.0.0.1:9: [^\n]+\n", ended.stderr)


def test_all_known_names_are_listed_on_demand_and_none_is_built(run: Run) -> None:
    rows = json.loads(run("models", "list", "--all", "--json").stdout)
    assert len(rows) > 70
    demo = next(row for row in rows if row["name"] == "demo-clip")
    assert (demo["task"], demo["here"], demo["prepared"]) == ("clip", "", "")


def test_a_model_is_prepared_listed_and_removed(run: Run, tmp_path: Path) -> None:
    done = run("models", "prepare", "demo-clip", "--task", "clip")
    assert done.exit_code == 0, done.output
    assert "batches of up to 8" in done.stdout
    assert re.search(
        r"clip .* demo-clip .* visual textual .* visual textual .* main ", run("models", "list").stdout
    )
    assert run("models", "remove", "demo-clip", "--task", "clip", "--yes").exit_code == 0
    assert list((tmp_path / "model_repository").iterdir()) == []


def test_a_name_that_nobody_knows_is_refused(run: Run) -> None:
    done = run("models", "pull", "nonsense")
    assert isinstance(done.exception, SetupError)
    assert "--task" in str(done.exception)


def test_a_model_that_was_not_fetched_cannot_be_verified(run: Run) -> None:
    assert run("models", "verify", "ViT-B-32__openai").exit_code == 1


def test_the_doctor_names_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMMICH_TRITON_URL", "http://127.0.0.1:9")
    done = run("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert findings["Python"]["good"]
    assert "cannot be reached" in findings["Triton"]["message"]


@pytest.mark.parametrize("wrong", [(), ("--task", "ocr", "--text", "a")])
def test_the_service_is_not_asked_for_what_it_cannot_answer(run: Run, wrong: tuple[str, ...]) -> None:
    assert run("predict", *wrong).exit_code == 2


def test_an_answer_becomes_tables() -> None:
    face = {"boundingBox": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}, "score": 0.5}
    answer = {"clip": "[1.0, 2.0]", "facial-recognition": [face], "ocr": {"text": ["a"], "textScore": [0.9]}}
    assert [table.title for table in tables(answer)] == ["CLIP vector", "1 faces", "1 lines"]
