"""The lock file: every fetched file's size, its SHA-256, and the repository and commit that it came from."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from adapter.errors import SetupError

NAME = "immich-triton.lock.json"
LOCKS = ".locks"
FORMAT = 2
READABLE = (1, FORMAT)
"""The first format had the commits in a list of their own too."""


class LockfileError(SetupError):
    """The lock file cannot be understood. The message says what to do."""


@dataclass(frozen=True)
class LockedFile:
    """A file as it was when it had been checked against its source.

    Attributes:
        source: repository@commit. All files of a model's folder come from one commit.
    """

    size: int
    sha256: str
    source: str


Locked = Mapping[str, LockedFile]
"""By path below the cache folder, such as `clip/ViT-B-32__openai/visual/model.onnx`."""


class Lockfile:
    """Reads and changes the lock file of a cache folder; safe among threads and processes."""

    def __init__(self, cache: Path) -> None:
        self.path = cache / NAME
        self._cache = cache

    def read(self) -> dict[str, LockedFile]:
        """What is locked; nothing where there is no lock file.

        Raises:
            LockfileError: it is damaged.
        """
        try:
            stored = json.loads(self.path.read_text())
            if stored["format"] not in READABLE:
                raise LockfileError(
                    f"{self.path} has format {stored['format']}; this version reads {FORMAT}."
                )
            return {name: LockedFile(**entry) for name, entry in stored["files"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LockfileError(
                f"{self.path} is damaged ({error}). Mend it, or move it away: revisions are then pinned anew."
            ) from error

    def record(self, files: Locked) -> None:
        """Notes files that have been checked."""
        with self._changing() as locked:
            locked.update(files)

    def forget(self, folder: str) -> None:
        """Drops the files of a model's folder, such as `clip/ViT-B-32__openai`, and so the commits they came from."""
        if not any(name.startswith(f"{folder}/") for name in self.read()):
            return  # the cache folder may be one that is only read
        with self._changing() as locked:
            for name in [name for name in locked if name.startswith(f"{folder}/")]:
                del locked[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, LockedFile]]:
        with FileLock(lock_path(self._cache, "lockfile")):
            locked = self.read()
            before = dict(locked)
            yield locked
            if locked != before:
                self._write(locked)

    def _write(self, locked: Locked) -> None:
        content = {"format": FORMAT, "files": {name: asdict(entry) for name, entry in locked.items()}}
        new = self.path.with_name(f".{NAME}.new")
        try:
            with new.open("w") as file:
                file.write(json.dumps(content, indent=1, sort_keys=True) + "\n")
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
