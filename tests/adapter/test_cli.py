"""The command line: what it prints, and how it ends."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapter import cli
from adapter.cli.predict import tables
from adapter.errors import SetupError
from tests.support.permissions import WITHOUT_ROOTS_POWERS

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command with folders of its own; the log is afterwards as it was."""
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path))
    monkeypatch.setenv("IMMICH_LOG_LEVEL", "error")
    monkeypatch.setenv("COLUMNS", "200")
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield lambda *arguments: CliRunner().invoke(cli.app, arguments)
    root.setLevel(level)
    root.handlers[:] = handlers


def test_every_command_says_what_it_does(run: Run) -> None:
    page = run("--help").stdout
    for command in ("serve", "doctor", "predict", "compare", "models", "settings", "version"):
        assert re.search(rf"{command} +\S", page)
        assert run(command, "--help").exit_code == 0


def test_the_command_line_loads_only_what_a_command_needs() -> None:
    heavy = "onnx onnxruntime cv2 tokenizers pyclipper numpy aiohttp PIL bench demo"
    program = f"import sys, adapter.cli; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []


def test_all_known_names_are_listed_on_demand_and_none_is_built(run: Run) -> None:
    rows = json.loads(run("models", "list", "--all", "--json").stdout)
    assert len(rows) > 70
    demo = next(row for row in rows if row["name"] == "demo-clip")
    assert (demo["task"], demo["here"], demo["prepared"]) == ("clip", "", "")


def test_a_model_is_prepared_listed_and_removed(run: Run, tmp_path: Path) -> None:
    done = run("models", "prepare", "demo-clip")
    assert done.exit_code == 0, done.output
    assert "batches of up to 8" in done.stdout
    assert re.search(
        r"clip .* demo-clip .* visual textual .* visual textual .* main ", run("models", "list").stdout
    )
    assert run("models", "remove", "demo-clip", "--yes").exit_code == 0
    assert list((tmp_path / "model_repository").iterdir()) == []


@pytest.mark.parametrize("command", ["pull", "prepare", "verify", "remove"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-32__opena", "There is no model 'ViT-B-32__opena'. Did you mean ViT-B-32__openai or "),
        ("nonsense", "`[^`]+ models list --all` names those that there are"),
        ("...", "name is empty"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_near_ones(
    run: Run, command: str, name: str, words: str
) -> None:
    done = run("models", command, name)
    assert isinstance(done.exception, SetupError)
    assert re.search(words, str(done.exception))


@pytest.mark.parametrize("command", ["verify", "remove"])
def test_a_model_that_is_not_here_is_told(run: Run, tmp_path: Path, command: str) -> None:
    done = run("models", command, "ViT-B-32__openai")
    assert str(done.exception).startswith("ViT-B-32__openai is not ")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_listed_needs_no_task_and_one_of_two_tasks_does(run: Run, tmp_path: Path) -> None:
    for task in ("clip", "ocr"):
        graph = tmp_path / f"models/{task}/own/{'visual' if task == 'clip' else 'detection'}/model.onnx"
        graph.parent.mkdir(parents=True)
        graph.write_bytes(b"graph")
        done = run("models", "verify", "own")
        if task == "clip":
            assert "unknown  clip/own/visual/model.onnx" in done.stdout
    assert str(done.exception) == "own is a model for clip and for ocr: say which, as in --task clip."


def ended(*arguments: str, **variables: str) -> tuple[int, str]:
    """How the program ends, and the last that it says."""
    command = [*WITHOUT_ROOTS_POWERS, sys.executable, "-m", "adapter", *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stderr.strip().rpartition("\n")[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("serve --log-level loud", "A setting is wrong. IMMICH_LOG_LEVEL: there are debug, .* .is 'loud'."),
        ("serve --triton-url ftp://x", "A setting is wrong. IMMICH_TRITON_URL: is no URL .* .is 'ftp://x'."),
        ("serve --state {closed}/state", ".*{closed}/state.*"),
        ("predict --text a --url 127.0.0.1:9", "No answer from http://127.0.0.1:9: Connection refused."),
        ("models verify buffalo_s", "{closed}/models/.*: Permission denied"),
        ("models pull buffalo_s", "{closed}/models/.*: Permission denied"),
        (
            "models prepare buffalo_s",
            "user .* may not enter what {closed}/state lies in: choose another folder.",
        ),
    ],
)
def test_a_fault_ends_a_command_with_one_sentence(tmp_path: Path, arguments: str, sentence: str) -> None:
    (closed := tmp_path / "closed").mkdir(mode=0)
    status, said = ended(
        *arguments.format(closed=closed).split(),
        MACHINE_LEARNING_CACHE_FOLDER=f"{closed}/models",
        IMMICH_TRITON_STATE_FOLDER=f"{closed}/state",
    )
    assert status == 1
    assert re.fullmatch("immich-triton: " + sentence.format(closed=closed), said)


@pytest.mark.parametrize("wrong", [(), ("--task", "ocr", "--text", "a")])
def test_the_service_is_not_asked_for_what_it_cannot_answer(run: Run, wrong: tuple[str, ...]) -> None:
    assert run("predict", *wrong).exit_code == 2


def test_an_answer_becomes_tables() -> None:
    face = {"boundingBox": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}, "score": 0.5}
    answer = {"clip": "[1.0, 2.0]", "facial-recognition": [face], "ocr": {"text": ["a"], "textScore": [0.9]}}
    assert [table.title for table in tables(answer)] == ["CLIP vector", "1 faces", "1 lines"]
