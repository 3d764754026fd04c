"""One part's way from a listing into the cache folder: staged, checked, written down, and put in place together.

A file grows in `<task>/<name>/.download/`, named by its hash, so that the next try goes on where this one ended.
When all of the part are there and checked, the lock file is told of them and they move into place, the graph last:
where the graph is, everything is.
"""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapter.preparation.fetch.hub import Hub, Listing, RemoteFile, Report, size_of
from adapter.preparation.fetch.hub_errors import Absent, CorruptFile, FetchError
from adapter.preparation.fetch.integrity import matches, sha256_of
from adapter.preparation.fetch.lockfile import LockedFile, Lockfile
from adapter.preparation.fetch.progress import MIB, Progress, describe
from adapter.protocol import GRAPH, Part

log = logging.getLogger(__name__)

STAGING = ".download"
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Delivery:
    """Brings the files of one listing that are not in a model's folder yet. The caller holds the model's lock."""

    part: Part
    listing: Listing
    cache: Path
    name: str  # of the model's folder, below the cache folder
    hub: Hub
    lockfile: Lockfile
    progress: Progress

    def run(self) -> None:
        """Does it all.

        Raises:
            Absent: its source lacks a file.
            CorruptFile: a file arrived twice with another hash than its source says.
            FetchError: a file cannot be had, or may not be replaced.
            OSError: the cache folder cannot be written, or is full.
        """
        if lacking := set(self.part.row.files) - {file.path for file in self.listing.files}:
            raise Absent(f"{self.listing.source} has no {' and no '.join(sorted(lacking))}.")
        files = [self.hub.complete(file) for file in self.listing.files]
        absent = self._absent(files)
        self._staging.mkdir(parents=True, exist_ok=True)
        self._require_space(absent)
        with self._giving_back_when_full():
            self._stage(absent)
            self._record(files, absent)
        self._put_in_place(absent)

    @property
    def _folder(self) -> Path:
        return self.cache / self.name

    @property
    def _staging(self) -> Path:
        return self._folder / STAGING

    def _staged(self, file: RemoteFile) -> Path:
        return self._staging / (file.sha256 or file.git_sha1 or "")

    def _absent(self, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        """Files to fetch. One that is there, not from here, and different, is the user's: it is not replaced."""
        ours = self.lockfile.read()
        absent = [file for file in files if not matches(self._folder / file.path, file)]
        for file in absent:
            if (self._folder / file.path).exists() and f"{self.name}/{file.path}" not in ours:
                raise FetchError(
                    f"{self._folder / file.path} is there and is not the file of {self.listing.source}, but others of "
                    "the model are missing. Complete the folder, or move it away: then it is fetched."
                )
        return absent

    def _require_space(self, absent: Sequence[RemoteFile]) -> None:
        needed = sum((file.size or 0) - size_of(self._staged(file)) for file in absent)
        if needed > shutil.disk_usage(self._staging).free:
            raise OSError(errno.ENOSPC, f"{needed / MIB:.1f} MiB more are needed")

    @contextmanager
    def _giving_back_when_full(self) -> Iterator[None]:
        """A full disk harms more than this download: what it took is given back."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                shutil.rmtree(self._staging, ignore_errors=True)
            raise

    def _stage(self, absent: Sequence[RemoteFile]) -> None:
        started, before = time.monotonic(), 0
        sizes = [file.size for file in absent]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        log.info("%s: fetching %d files from %s", self.part, len(absent), self.listing.source)
        for file in absent:
            self._stage_file(file, _shifted(self.progress, before, total))
            before += size_of(self._staged(file))
        took_s = time.monotonic() - started
        log.info("%s: fetched and checked %s in %.1f s", self.part, describe(before, total), took_s)

    def _stage_file(self, file: RemoteFile, report: Report) -> None:
        target = self._staged(file)
        for again in (", fetching it again", ""):
            self.hub.save(file, target, report)
            if matches(target, file):
                return
            log.warning("%s: %s arrived corrupt%s", self.part, file.path, again)
            target.unlink(missing_ok=True)
        raise CorruptFile(
            f"{file.path} of {self.listing.source} arrived corrupt twice: its hash is not "
            f"{file.sha256 or file.git_sha1}. A proxy or mirror on the way may change it."
        )

    def _record(self, files: Sequence[RemoteFile], absent: Sequence[RemoteFile]) -> None:
        entries = {}
        for file in files:
            path = self._staged(file) if file in absent else self._folder / file.path
            sha256 = file.sha256 or sha256_of(path)
            entries[f"{self.name}/{file.path}"] = LockedFile(size_of(path), sha256, self.listing.source)
        self.lockfile.record(entries)

    def _put_in_place(self, absent: Sequence[RemoteFile]) -> None:
        for file in sorted(absent, key=lambda file: Path(file.path).name == GRAPH):
            target = self._folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _flush(self._staged(file))
            self._staged(file).replace(target)
        with suppress(OSError):  # the other part's beginnings are in it
            self._staging.rmdir()


def _shifted(progress: Progress, before: int, total: int | None) -> Report:
    """A file's own count of bytes, as a part of the count of all files."""
    return lambda arrived, size: progress.tell(before + arrived, total or size)


def _flush(path: Path) -> None:
    """To the disk, so that no power cut leaves an empty file under a final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
