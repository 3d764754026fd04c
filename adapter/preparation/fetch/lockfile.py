"""The lock file: which revision of each repository this cache holds, and every fetched file's size and SHA-256."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from adapter.errors import SetupError

NAME = "immich-triton.lock.json"
LOCKS = ".locks"
FORMAT = 1


class LockfileError(SetupError):
    """The lock file cannot be understood. The message says what to do."""


@dataclass(frozen=True)
class LockedFile:
    """A file as it was when it had been checked against its source.

    Attributes:
        source: repository@revision.
    """

    size: int
    sha256: str
    source: str


@dataclass
class Lock:
    """What the lock file says.

    Attributes:
        revisions: repository → commit.
        files: path below the cache folder, such as `clip/ViT-B-32__openai/visual/model.onnx` → file.
    """

    revisions: dict[str, str] = field(default_factory=dict)
    files: dict[str, LockedFile] = field(default_factory=dict)


class Lockfile:
    """Reads and changes the lock file of a cache folder; safe among threads and processes."""

    def __init__(self, cache: Path) -> None:
        self.path = cache / NAME
        self._cache = cache

    def read(self) -> Lock:
        """What is locked; nothing where there is no lock file.

        Raises:
            LockfileError: it is damaged.
        """
        try:
            stored = json.loads(self.path.read_text())
            if stored["format"] != FORMAT:
                raise LockfileError(
                    f"{self.path} has format {stored['format']}; this version reads {FORMAT}."
                )
            files = {name: LockedFile(**entry) for name, entry in stored["files"].items()}
            return Lock(dict(stored["revisions"]), files)
        except FileNotFoundError:
            return Lock()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LockfileError(
                f"{self.path} is damaged ({error}). Mend it, or move it away: revisions are then pinned anew."
            ) from error

    def pin(self, repository: str, revision: str) -> None:
        """Notes the commit that all files of a repository come from. The first one stays."""
        with self._changing() as lock:
            lock.revisions.setdefault(repository, revision)

    def record(self, files: Mapping[str, LockedFile]) -> None:
        """Notes files that have been checked."""
        with self._changing() as lock:
            lock.files.update(files)

    def forget(self, folder: str) -> None:
        """Drops the files of a model's folder, such as `clip/ViT-B-32__openai`, and the revision they came from."""
        with self._changing() as lock:
            dropped = {
                name: lock.files.pop(name) for name in list(lock.files) if name.startswith(f"{folder}/")
            }
            used = {_repository(file) for file in lock.files.values()}
            own = {name for name in lock.revisions if name.endswith(f"/{folder.rpartition('/')[2]}")}
            for repository in own | {_repository(file) for file in dropped.values()} - used:
                lock.revisions.pop(repository, None)

    @contextmanager
    def _changing(self) -> Iterator[Lock]:
        with FileLock(lock_path(self._cache, "lockfile")):
            lock = self.read()
            before = _render(lock)
            yield lock
            if _render(lock) != before:
                self._write(_render(lock))

    def _write(self, content: str) -> None:
        new = self.path.with_name(f".{NAME}.new")
        try:
            with new.open("w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)


def lock_path(cache: Path, name: str) -> Path:
    """Where processes lock against each other; the file stays, for removing it would split those who wait."""
    folder = cache / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"


def _repository(file: LockedFile) -> str:
    return file.source.rpartition("@")[0]


def _render(lock: Lock) -> str:
    content = {
        "format": FORMAT,
        "revisions": lock.revisions,
        "files": {name: asdict(entry) for name, entry in lock.files.items()},
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
