"""Whether files are what their source, or the lock file, says they are."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from adapter.preparation.fetch.lockfile import LockedFile, Lockfile
from adapter.preparation.fetch.sources import RemoteFile
from adapter.protocol import TaskName, types_of


class State(StrEnum):
    GOOD = "good"
    MISSING = "missing"
    CORRUPT = "corrupt"
    UNKNOWN = "unknown"
    """It was not fetched by this program, so there is nothing to compare it with."""


@dataclass(frozen=True)
class Check:
    """What was found of a file.

    Attributes:
        path: below the cache folder.
        source: repository@revision; empty where that is unknown.
    """

    path: str
    state: State
    source: str = ""


def verify(cache: Path, name: str) -> list[Check]:
    """Reads all files of a model and compares them with the lock file; takes about a second a gigabyte.

    Raises:
        LockfileError: the lock file is damaged.
    """
    files = Lockfile(cache).read().files
    locked = {path: file for path, file in files.items() if PurePosixPath(path).parts[1:2] == (name,)}
    checks = [Check(path, _state(cache / path, file), file.source) for path, file in locked.items()]
    others = [Check(path, State.UNKNOWN) for path in _files(cache, name) if path not in locked]
    return sorted(checks + others, key=lambda check: check.path)


def matches(path: Path, file: RemoteFile) -> bool:
    """Whether a file is there with the content that its source describes."""
    if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
        return False
    if file.sha256:
        return sha256_of(path) == file.sha256
    return git_sha1_of(path) == file.git_sha1


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def git_sha1_of(path: Path) -> str:
    """The name that git gives to a blob of this content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _state(path: Path, file: LockedFile) -> State:
    if not path.is_file():
        return State.MISSING
    same = path.stat().st_size == file.size and sha256_of(path) == file.sha256
    return State.GOOD if same else State.CORRUPT


def _files(cache: Path, name: str) -> Iterator[str]:
    for task in TaskName:
        for type_name in types_of(task):
            for path in (cache / task / name / type_name).rglob("*"):
                if path.is_file():
                    yield str(path.relative_to(cache))
