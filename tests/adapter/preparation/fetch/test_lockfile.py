"""The lock file: whole at any time, whoever writes."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapter.preparation.fetch.lockfile import NAME, LockedFile, Lockfile, LockfileError

FILE = LockedFile(3, "ab" * 32, "immich-app/one@c0ffee")
OTHER = LockedFile(4, "cd" * 32, "immich-app/two@decaf")


def test_no_lock_file_is_an_empty_one(tmp_path: Path) -> None:
    assert Lockfile(tmp_path).read() == {}
    assert list(tmp_path.iterdir()) == []


def test_of_many_who_write_at_once_none_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: Lockfile(tmp_path).record({f"clip/m{n}/config.json": FILE}), range(40)))
    assert len(Lockfile(tmp_path).read()) == 40
    assert [path.name for path in tmp_path.iterdir() if not path.is_dir()] == [NAME]


def test_forgetting_a_model_leaves_the_others(tmp_path: Path) -> None:
    lockfile = Lockfile(tmp_path)
    other = {"clip/one-more/config.json": OTHER}
    lockfile.record({"clip/one/config.json": FILE, "clip/one/v2/config.json": FILE, **other})
    lockfile.forget("clip/one")
    assert lockfile.read() == other


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"format": 2, "files": {"a": {}}})])
def test_a_damaged_lock_file_is_named_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(LockfileError, match=rf"{NAME} is damaged"):
        Lockfile(tmp_path).record({"clip/one/config.json": FILE})
    assert (tmp_path / NAME).read_text() == content


def test_a_lock_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"format": 3}')
    with pytest.raises(LockfileError, match="has format 3; this version reads 2"):
        Lockfile(tmp_path).read()
