"""The lock file: whole at any time, whoever writes."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapter.preparation.fetch.lockfile import NAME, LockedFile, Lockfile, LockfileError

FILE = LockedFile(3, "ab" * 32, "immich-app/one@c0ffee")
OTHER = LockedFile(4, "cd" * 32, "immich-app/two@decaf")


def test_no_lock_file_is_an_empty_one(tmp_path: Path) -> None:
    lock = Lockfile(tmp_path).read()
    assert (lock.revisions, lock.files) == ({}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_first_revision_stays(tmp_path: Path) -> None:
    Lockfile(tmp_path).pin("immich-app/one", "c0ffee")
    Lockfile(tmp_path).pin("immich-app/one", "decaf")
    assert Lockfile(tmp_path).read().revisions == {"immich-app/one": "c0ffee"}


def test_of_many_who_write_at_once_none_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: Lockfile(tmp_path).record({f"clip/m{n}/config.json": FILE}), range(40)))
    assert len(Lockfile(tmp_path).read().files) == 40
    assert [path.name for path in tmp_path.iterdir() if not path.is_dir()] == [NAME]


def test_forgetting_a_model_unpins_it_and_leaves_the_others(tmp_path: Path) -> None:
    lockfile = Lockfile(tmp_path)
    for repository in ("immich-app/one", "immich-app/two", "immich-app/begun"):
        lockfile.pin(repository, "c0ffee")
    lockfile.record({"clip/one/config.json": FILE, "clip/two/config.json": OTHER})
    lockfile.forget("clip/one")
    assert lockfile.read().files == {"clip/two/config.json": OTHER}
    assert set(lockfile.read().revisions) == {"immich-app/two", "immich-app/begun"}


def test_a_source_that_two_models_share_stays_pinned_until_both_are_forgotten(tmp_path: Path) -> None:
    lockfile = Lockfile(tmp_path)
    lockfile.pin("RapidAI/RapidOCR", "v3")
    shared = LockedFile(1, "ef" * 32, "RapidAI/RapidOCR@v3")
    lockfile.record({"ocr/one/detection/model.onnx": shared, "ocr/two/recognition/model.onnx": shared})
    lockfile.forget("ocr/one")
    assert lockfile.read().revisions == {"RapidAI/RapidOCR": "v3"}
    lockfile.forget("ocr/two")
    assert lockfile.read().revisions == {}


def test_a_model_that_was_only_pinned_can_be_forgotten(tmp_path: Path) -> None:
    Lockfile(tmp_path).pin("immich-app/one", "c0ffee")
    Lockfile(tmp_path).forget("clip/one")
    assert Lockfile(tmp_path).read().revisions == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", json.dumps({"format": 1, "revisions": {}, "files": {"a": {}}})]
)
def test_a_damaged_lock_file_is_named_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(LockfileError, match=rf"{NAME} is damaged"):
        Lockfile(tmp_path).pin("immich-app/one", "c0ffee")
    assert (tmp_path / NAME).read_text() == content


def test_a_lock_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"format": 2}')
    with pytest.raises(LockfileError, match="has format 2; this version reads 1"):
        Lockfile(tmp_path).read()
