"""A decoded picture is left in shared memory: once fetched it is gone, and what nobody fetches does not stay."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from backends.pictures import FOLDER, OLDEST_S, Gone, Pictures
from tests.support.pictures import noise

SERVER = 77


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder of its own in shared memory."""
    with TemporaryDirectory(dir=FOLDER) as folder:
        yield Path(folder)


@pytest.fixture
def steps(memory: Path) -> tuple[Pictures, Pictures]:
    """Two steps of one server, of which one leaves and the other fetches."""
    return Pictures(memory, SERVER), Pictures(memory, SERVER)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared memory with a little less than half of it free."""
    found = os.statvfs("/")
    values = list(found)
    values[2], values[4] = 2**30, 2**29  # blocks in all, blocks free
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))


@pytest.mark.parametrize("size", [(1, 1), (33, 20), (1440, 1080)])
def test_a_picture_is_fetched_as_it_was_left_by_a_note_that_holds_little(
    steps: tuple[Pictures, Pictures], memory: Path, size: tuple[int, int]
) -> None:
    first, second = steps
    pictures = [noise(*size, seed) for seed in (1, 2)]
    notes = [first.leave(picture) for picture in pictures]
    assert max(note.nbytes for note in notes) < 100
    for picture, note in reversed(list(zip(pictures, notes, strict=True))):
        np.testing.assert_array_equal(second.fetch(note), picture)
    assert list(memory.iterdir()) == []


def test_what_a_server_keeps_in_shared_memory_begins_with_its_name(
    steps: tuple[Pictures, Pictures], memory: Path
) -> None:
    steps[0].leave(noise(4, 4, 1))
    (path,) = memory.iterdir()
    assert path.name.startswith(f"immich_triton_{SERVER}_")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("full")
def test_a_picture_travels_in_its_note_where_shared_memory_is_short(
    steps: tuple[Pictures, Pictures], memory: Path
) -> None:
    note = steps[0].leave(noise(40, 30, 1))
    assert list(memory.iterdir()) == []
    np.testing.assert_array_equal(steps[1].fetch(note), noise(40, 30, 1))


def test_a_picture_whose_writing_fails_travels_in_its_note(
    steps: tuple[Pictures, Pictures], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(file: int, data: memoryview, _write: Any = os.write) -> int:
        if os.fstat(file).st_size:
            raise OSError(28, "No space left on device")
        return int(_write(file, data[: len(data) // 2]))

    monkeypatch.setattr(os, "write", write_half)
    note = steps[0].leave(noise(40, 30, 1))
    assert list(memory.iterdir()) == []
    np.testing.assert_array_equal(steps[1].fetch(note), noise(40, 30, 1))


def test_a_note_is_good_once_and_only_for_a_picture(steps: tuple[Pictures, Pictures], memory: Path) -> None:
    first, second = steps
    note = first.leave(noise(4, 4, 1))
    second.fetch(note)
    with pytest.raises(Gone):
        second.fetch(note)
    (memory / "secret").write_bytes(bytes(48))
    with pytest.raises(Gone, match="no picture's name"):
        second.fetch(np.frombuffer(note.tobytes()[:9] + b"../x/secret", np.uint8))
    assert (memory / "secret").exists()


def test_half_a_picture_is_none(steps: tuple[Pictures, Pictures], memory: Path) -> None:
    note = steps[0].leave(noise(4, 4, 1))
    (path,) = memory.iterdir()
    os.truncate(path, 20)
    with pytest.raises(Gone, match="20 bytes"):
        steps[1].fetch(note)


def test_pictures_that_nobody_fetches_are_removed_once_they_are_old(memory: Path) -> None:
    lost = Pictures(memory, SERVER)
    lost.leave(noise(4, 4, 1))
    (path,) = memory.iterdir()
    others = memory / f"immich_triton_{SERVER + 1}_picture_1_{'0' * 16}"
    others.write_bytes(b"another server's")
    for old in (path, others):
        os.utime(old, (0, path.stat().st_mtime - OLDEST_S - 1))
    Pictures(memory, SERVER).leave(noise(5, 5, 2))
    assert not path.exists()
    assert others.exists()
    assert len(list(memory.iterdir())) == 2


def test_a_step_that_ends_takes_its_own_pictures_with_it(memory: Path) -> None:
    ended = Pictures(memory, SERVER)
    ended.leave(noise(4, 4, 1))
    ended.close()
    assert list(memory.iterdir()) == []
