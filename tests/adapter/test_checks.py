"""What the service needs of its host: named when it is missing, and only then."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from adapter import checks, settings
from adapter.checks import Finding
from adapter.preparation.door import Preparation, Prepared
from tests.support.permissions import WITHOUT_ROOTS_POWERS

PROGRAM = """
import json, sys
from dataclasses import asdict
from adapter import checks, settings
from adapter.preparation.door import Preparation
chosen = settings.load(cache_folder=sys.argv[1], state_folder=sys.argv[2])
print(json.dumps([asdict(finding) for finding in checks.at_start(chosen, Preparation(chosen))]))
"""

PREPARED = asdict(Prepared("one.visual", ("one.visual",), 1, {}))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with a model of each revision."""
    for below in ("clip/one/visual", "clip/two/v2/visual"):
        (tmp_path / "cache" / below).mkdir(parents=True)
        (tmp_path / "cache" / below / "model.onnx").write_bytes(b"graph")
    return tmp_path / "cache"


def look(cache: Path, state: Path) -> dict[str, Finding]:
    """What is found by a user who is bound by permissions, as root is not."""
    command = [*WITHOUT_ROOTS_POWERS, sys.executable, "-c", PROGRAM, str(cache), str(state)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {finding["subject"]: Finding(**finding) for finding in found}


def test_a_host_that_has_everything_is_good(cache: Path, tmp_path: Path) -> None:
    found = look(cache, tmp_path / "state")
    assert [finding for finding in found.values() if not finding.good] == []
    assert found["models"].message.startswith("1 of revision main and 1 of revision v2; ")


def test_a_cache_folder_that_does_not_exist_is_no_empty_one(tmp_path: Path) -> None:
    found = look(tmp_path / "cahce", tmp_path)["models"]
    assert (found.good, found.blocks) == (False, True)
    assert f"{tmp_path / 'cahce'} does not exist: mend MACHINE_LEARNING_CACHE_FOLDER" in found.message


def test_a_cache_that_is_only_read_is_good_where_models_are_in_it(cache: Path, tmp_path: Path) -> None:
    cache.chmod(0o555)
    assert look(cache, tmp_path)["models"].good
    (tmp_path / "empty").mkdir(mode=0o555)
    empty = look(tmp_path / "empty", tmp_path)["models"]
    assert not empty.good
    assert f"cannot write {tmp_path / 'empty'}: chown" in empty.message


@pytest.mark.parametrize("closed", ["clip/one/visual/model.onnx", "clip/two/v2", "clip", "."])
def test_a_model_that_cannot_be_read_is_named(cache: Path, tmp_path: Path, closed: str) -> None:
    (cache / closed).chmod(0)
    finding = look(cache, tmp_path)["models"]
    (cache / closed).chmod(0o700)
    assert not finding.good
    assert f"cannot read {cache / closed}: chown" in finding.message


@pytest.mark.parametrize("wrong", ["/proc/nowhere", "{file}/state", "{closed}/state"])
def test_a_state_folder_that_cannot_be_written_is_named(cache: Path, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0)
    state = wrong.format(file=tmp_path / "file", closed=tmp_path / "closed")
    finding = look(cache, Path(state))["state"]
    assert not finding.good
    assert Path(state).parent.name in finding.message


def test_a_state_folder_that_is_only_read_is_good_where_another_host_has_prepared_models(
    cache: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    public = state / "model_repository" / "one.visual"
    public.mkdir(parents=True)
    state.chmod(0o555)
    empty = look(cache, state)["state"]
    assert (empty.good, empty.blocks) == (False, True)
    (public / "preparation.json").write_text(json.dumps({"prepared": PREPARED}))
    assert look(cache, state)["state"].good


@pytest.mark.parametrize(
    ("check", "room"),
    [("cache", "LITTLE_DISK_BYTES"), ("state", "LITTLE_DISK_BYTES"), ("memory", "BASE_BYTES")],
)
def test_too_little_room_is_told_with_what_is_needed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, room: str
) -> None:
    chosen = settings.load(cache_folder=cache, state_folder=tmp_path)
    examine: Callable[..., Finding] = getattr(checks, check)
    assert examine(chosen, Preparation(chosen)).good
    monkeypatch.setattr(checks, room, 2**60)
    assert not examine(chosen, Preparation(chosen)).good


def test_little_shared_memory_is_told_with_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LITTLE_SHARED_MEMORY_BYTES", 2**60)
    here = checks.shared_memory(settings.load())
    assert (here.good, "--shm-size 1g" in here.message) == (False, True)
    assert checks.shared_memory(settings.load(triton_url="http://triton:8000")).good
