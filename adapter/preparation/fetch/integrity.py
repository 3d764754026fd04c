"""Whether files are what their source, or the lock file, says they are."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from huggingface_hub.utils.sha import git_hash

from adapter.preparation.catalog import files_of, revisions_at
from adapter.preparation.fetch.hub import RemoteFile
from adapter.preparation.fetch.lockfile import LockedFile, Lockfile
from adapter.protocol import PARTS, Part


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
        source: repository@commit; empty where that is unknown.
    """

    path: str
    state: State
    source: str = ""


def verify(cache: Path, name: str) -> list[Check]:
    """Reads all files of a model and compares them with the lock file; takes about a second a gigabyte.

    Raises:
        LockfileError: the lock file is damaged.
    """
    files = Lockfile(cache).read()
    locked = {path: file for path, file in files.items() if PurePosixPath(path).parts[1] == name}
    checks = [Check(path, _state(cache / path, file), file.source) for path, file in locked.items()]
    others = {path for path in _files(cache, name) if path not in locked}
    return sorted([*checks, *(Check(path, State.UNKNOWN) for path in others)], key=lambda check: check.path)


def matches(path: Path, file: RemoteFile) -> bool:
    """Whether a file is there with the content that its source describes."""
    if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
        return False
    if file.sha256:
        return sha256_of(path) == file.sha256
    return git_hash(path.read_bytes()) == file.git_sha1


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _state(path: Path, file: LockedFile) -> State:
    if not path.is_file():
        return State.MISSING
    same = path.stat().st_size == file.size and sha256_of(path) == file.sha256
    return State.GOOD if same else State.CORRUPT


def _files(cache: Path, name: str) -> Iterator[str]:
    for part in (Part(*kind, name) for kind in PARTS):
        for folder in revisions_at(cache, part).values():
            yield from (str(path.relative_to(cache)) for path in files_of(part, folder))
