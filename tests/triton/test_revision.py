"""A model cache of revision v2 as Immich's own container leaves it: used as it is, with the answers of `main`."""

import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.support.server import NewState, Server

pytestmark = pytest.mark.triton


@pytest.fixture
def cache(shared: Path, tmp_path: Path) -> Path:
    """Models with their weights in files of their own, and what Immich's container has prepared beside them."""
    made, cache = tmp_path / "made", tmp_path / "cache"
    subprocess.run(
        [sys.executable, str(shared / "tools/make-v2-models"), str(made)], check=True, capture_output=True
    )
    for path in [path for path in made.rglob("*") if path.is_file()]:
        target = cache / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name != "model.onnx":
            path.rename(target)
            continue
        onnx.save_model(onnx.load(path), target, save_as_external_data=True, location="model.safetensors")
        (target.parent / "model.lock").touch()
        (target.parent / "cpu/x86_64/1").mkdir(parents=True)
        (target.parent / "cpu/x86_64/1/model.onnx").write_bytes(b"prepared by others")
    return cache


def test_it_is_served_without_being_asked_for_and_answers_as_main_does(
    shared: Path, cache: Path, new_state: NewState
) -> None:
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    with Server(new_state(), cache) as server:
        command = [sys.executable, str(shared / "golden/check"), server.url, "--release", "3.3"]
        check = subprocess.run(command, capture_output=True, text=True)
        log = server.log.read_text()
    failed = [line for line in check.stdout.splitlines() if line.startswith("FAIL")]
    # Vectors of faces are of length 1 in v2.
    longer = [line for line in failed if re.search(r": face \d+: cosine (1\.0|0\.9999)", line)]
    assert failed == longer
    assert re.search(rf"^\d+ passed, {len(failed)} failed$", check.stdout, re.MULTILINE), check.stderr
    assert len(re.findall(r"revision v2, is loaded", log)) == 6
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
