"""`verify`: what a model's files are, compared with what was fetched."""

import pytest

from adapter.preparation.fetch.integrity import Check, State, verify
from adapter.preparation.fetch.lockfile import NAME as LOCKFILE
from adapter.preparation.fetch.lockfile import LockfileError
from tests.support.downloads import NAME, VISUAL, VISUAL_FILES, Bench


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """The same, with a model in the cache."""
    bench.downloads().fetch(VISUAL)
    return bench


def states(checks: list[Check]) -> dict[str, State]:
    return {check.path.removeprefix(f"clip/{NAME}/"): check.state for check in checks}


def test_what_was_fetched_is_good(bench: Bench) -> None:
    assert states(verify(bench.cache, NAME)) == dict.fromkeys(VISUAL_FILES, State.GOOD)
    assert all(check.source.startswith(f"immich-app/{NAME}@") for check in verify(bench.cache, NAME))


def test_missing_changed_and_foreign_files_are_told_apart(bench: Bench) -> None:
    graph = bench.folder / "visual/model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    (bench.folder / "visual/model.onnx_data").unlink()
    (bench.folder / "textual").mkdir()
    (bench.folder / "textual/model.onnx").write_bytes(b"from an Immich cache")
    found = states(verify(bench.cache, NAME))
    assert found["visual/model.onnx"] == State.CORRUPT
    assert found["visual/model.onnx_data"] == State.MISSING
    assert found["textual/model.onnx"] == State.UNKNOWN
    assert found["visual/preprocess_cfg.json"] == State.GOOD


def test_a_model_that_is_not_there_has_no_files(bench: Bench) -> None:
    assert verify(bench.cache, "RN50__openai") == []


def test_a_damaged_lock_file_fails_verification_but_not_service(bench: Bench) -> None:
    (bench.cache / LOCKFILE).write_text("{")
    with pytest.raises(LockfileError):
        verify(bench.cache, NAME)
    assert bench.downloads().find(VISUAL) == bench.folder
