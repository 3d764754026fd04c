"""Fetching: a known model that is not in the cache folder comes there, once, whoever asks."""

import asyncio
import errno
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.preparation.fetch.delivery import FULL, Delivery
from adapter.preparation.fetch.hub import Hub, size_of
from adapter.preparation.fetch.hub_errors import CorruptFile, FetchError, Stopped
from adapter.preparation.fetch.lockfile import LockedFile, Lockfile, LockfileError, lock_path
from adapter.preparation.fetch.progress import MIB
from adapter.preparation.fetch.sources import (
    HubRepositories,
    RapidOcrRelease,
    Source,
    belongs,
)
from adapter.protocol import Part, Publisher

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Downloads of different models; more wait."""
TURN_S = 0.5
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Downloads:
    """Fetches known models into a cache folder, one download at a time a model.

    Args:
        cache: the folder, in Immich's layout; made when something is fetched.
        hub: default: the one of HF_ENDPOINT.
        sources: who is asked for a publisher's files; nobody, for one that is not here. Default: all of them.
        ended: told `ok` or `failed` when a download ends.
    """

    def __init__(
        self,
        cache: Path,
        hub: Hub | None = None,
        sources: Mapping[Publisher, Source] | None = None,
        ended: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._cache = cache
        self._ended = ended
        self._hub = hub or Hub()
        self._sources = sources or {
            Publisher.RAPIDOCR: RapidOcrRelease(),
            Publisher.HUB: HubRepositories(self._hub),
        }
        self._lockfile = Lockfile(cache)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="download")

    async def obtain(self, part: Part) -> Path:
        """`fetch` for coroutines, in threads of its own: a slow hub holds up nothing but downloads."""
        if found := await asyncio.to_thread(self.find, part):
            return found
        async with self._turns[part.name]:  # who waits for the other part holds no thread
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.fetch, part)

    def find(self, part: Part) -> Path | None:
        """The folder of a model of which the part is there, as far as names and sizes tell. Asks nobody."""
        return self._folder(part) if self._is_there(part) else None

    def fetch(self, part: Part) -> Path:
        """The folder of a part's model, with all the part's files. Blocks for as long as the download takes.

        Raises:
            ModelRefused: a file arrived corrupt, twice.
            ModelUnavailable: it cannot be had now. The next call goes on where this one ended.
        """
        if found := self.find(part):
            return found
        with self._explained(part), self._turn(part):
            if not self._is_there(part):
                self._fetch_and_tell(part)
        return self._folder(part)

    def _fetch_and_tell(self, part: Part) -> None:
        result = "failed"
        try:
            self._fetch(part)
            result = "ok"
        finally:
            self._ended(result)

    def close(self) -> None:
        """Ends downloads under way, soon; what has arrived is kept."""
        self._hub.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _folder(self, part: Part) -> Path:
        return self._cache / part.task / part.name

    def _is_there(self, part: Part) -> bool:
        folder = self._folder(part)
        if not all((folder / name).is_file() for name in part.row.files):
            return False
        ours = self._locked(f"{part.task}/{part.name}/")
        return all(size_of(folder / path) == file.size for path, file in ours.items() if belongs(path, part))

    def _locked(self, folder: str) -> Mapping[str, LockedFile]:
        """The locked files of a model, by their paths below its folder."""
        try:
            files = self._lockfile.read().files
        except LockfileError as error:  # no reason not to serve what is there
            log.warning("%s", error)
            return {}
        return {path.removeprefix(folder): file for path, file in files.items() if path.startswith(folder)}

    @contextmanager
    def _turn(self, part: Part) -> Iterator[None]:
        """Waits until no other thread or process fetches for this model."""
        lock = FileLock(lock_path(self._cache, f"{part.task}.{part.name}"))
        while not lock.is_locked:
            self._hub.check_running()
            try:
                lock.acquire(timeout=TURN_S)
            except Timeout:
                log.debug("%s: somebody else is fetching for this model", part)
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, part: Part) -> None:
        """Asks one source after another."""
        failures: list[FetchError] = []
        for source in filter(None, map(self._sources.get, part.row.publishers)):
            try:
                listing = source.offer(part, self._lockfile.read().revisions)
                if listing:
                    return Delivery(part, listing, self._cache, self._hub, self._lockfile).run()
            except Stopped:
                raise
            except FetchError as error:
                log.warning("%s: %s", part, error)
                failures.append(error)
        corrupt = any(isinstance(failure, CorruptFile) for failure in failures)
        raise (CorruptFile if corrupt else FetchError)(" ".join(dict.fromkeys(map(str, failures))))

    @contextmanager
    def _explained(self, part: Part) -> Iterator[None]:
        lead = f"{part} is not in the cache folder {self._cache} and cannot be fetched:"
        try:
            yield
        except CorruptFile as error:
            raise ModelRefused(f"{lead} {error}") from error
        except (FetchError, LockfileError) as error:
            raise ModelUnavailable(f"{lead} {error}") from error
        except OSError as error:
            raise ModelUnavailable(f"{lead} {self._explain(error)}") from error

    def _explain(self, error: OSError) -> str:
        if error.errno in FULL:
            free = shutil.disk_usage(self._cache).free / MIB
            return (
                f"the disk is full ({error.strerror}; {free:.1f} MiB are free). Make room on it, for instance with "
                "`immich-triton models remove`."
            )
        if error.errno in _READ_ONLY:
            return f"the folder cannot be written ({error}). Mount it writable, or fill it elsewhere."
        return f"{error}."
