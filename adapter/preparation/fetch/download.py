"""Fetching: a known model that is not in the cache folder comes there, once, whoever asks."""

import asyncio
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from adapter.environment import command
from adapter.errors import LASTING, ModelAbsent, ModelRefused, ModelUnavailable, of_disk
from adapter.preparation.catalog import is_whole
from adapter.preparation.fetch.delivery import FULL, Delivery
from adapter.preparation.fetch.hub import Hub, size_of
from adapter.preparation.fetch.hub_errors import Absent, CorruptFile, FetchError, OutOfReach, Stopped
from adapter.preparation.fetch.lockfile import Locked, Lockfile, LockfileError, lock_path
from adapter.preparation.fetch.progress import MIB, Progress
from adapter.preparation.fetch.sources import HubRepositories, RapidOcrRelease, Source
from adapter.protocol import MAIN, Part, types_of
from adapter.settings import ORGANIZATION

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Downloads of different models; more wait."""
TURN_S = 0.5
_MEANINGS: Mapping[type[Exception], type[ModelUnavailable]] = {
    Absent: ModelAbsent,
    OutOfReach: ModelUnavailable,
}
"""Of those that may pass, and of those that have a status of their own."""


class Downloads:
    """Fetches known models into a cache folder, one download at a time a model.

    Args:
        cache: the folder, in Immich's layout; made when something is fetched.
        hub: default: the one of HF_ENDPOINT.
        sources: who is asked for files, in this order. Default: RapidOCR's release, and on the hub `organization`.
        ended: told `ok` or `failed` when a download ends.

    Attributes:
        under_way: how far each download is that has begun and not ended.
    """

    def __init__(
        self,
        cache: Path,
        hub: Hub | None = None,
        sources: Sequence[Source] = (),
        organization: str = ORGANIZATION,
        ended: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.under_way: dict[Part, Progress] = {}
        self._cache = cache
        self._ended = ended
        self._hub = hub or Hub()
        self._sources = sources or (RapidOcrRelease(), HubRepositories(self._hub, organization))
        self._lockfile = Lockfile(cache)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="download")

    async def obtain(self, part: Part, revision: str = MAIN) -> Path:
        """`fetch` for coroutines, in threads of its own: a slow hub holds up nothing but downloads."""
        if found := await asyncio.to_thread(self.find, part, revision):
            return found
        async with self._turns[part.name]:  # who waits for the other part holds no thread
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self.fetch, part, revision)

    def find(self, part: Part, revision: str = MAIN) -> Path | None:
        """The folder of a model of which the part is there, as far as names and sizes tell. Asks nobody."""
        folder = self._cache / part.folder(revision)
        if not is_whole(part, folder):
            return None
        try:
            ours = self._locked(part, revision)
        except LockfileError as error:  # no reason not to serve what is there
            log.warning("%s", error)
            return folder
        same = all(size_of(folder / path) == file.size for path, file in ours.items() if part.owns(path))
        return folder if same else None

    def fetch(self, part: Part, revision: str = MAIN) -> Path:
        """The folder of a part's model, with all the part's files. Blocks for as long as the download takes.

        Raises:
            ModelAbsent: no source has it.
            ModelRefused: it cannot be had before somebody changes something.
            ModelUnavailable: it cannot be had now. The next call goes on where this one ended.
        """
        if found := self.find(part, revision):
            return found
        with self._explained(part, revision), self._turn(part):
            if not self.find(part, revision):
                self._fetch(part, revision)
        return self._cache / part.folder(revision)

    def close(self) -> None:
        """Ends downloads under way, soon; what has arrived is kept."""
        self._hub.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _locked(self, part: Part, revision: str) -> Locked:
        """The locked files of a model's folder, by their paths below it."""
        folder = part.folder(revision)
        folders = {folder, *(f"{folder}/{type_name}" for type_name in types_of(part.task))}
        return {
            path.removeprefix(f"{folder}/"): file
            for path, file in self._lockfile.read().items()
            if path.rpartition("/")[0] in folders
        }

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

    def _fetch(self, part: Part, revision: str) -> None:
        """Asks one source after another."""
        pinned = dict(file.source.split("@") for file in self._locked(part, revision).values())
        failures: list[FetchError] = []
        for source in self._sources:
            try:
                if listing := source.offer(part, revision, pinned):
                    name = part.folder(revision)
                    with self._shown(part) as progress:
                        Delivery(part, listing, self._cache, name, self._hub, self._lockfile, progress).run()
                    self._ended("ok")
                    return
            except Stopped:
                raise
            except FetchError as error:
                log.warning("%s: %s", part, error)
                failures.append(error)
        reasons = " ".join(dict.fromkeys(map(str, failures)))
        kinds = {type(failure) for failure in failures}
        for meaning in (CorruptFile, OutOfReach):
            if meaning in kinds:
                raise meaning(reasons)
        raise (Absent if kinds == {Absent} else FetchError)(reasons)

    @contextmanager
    def _shown(self, part: Part) -> Iterator[Progress]:
        progress = self.under_way[part] = Progress(str(part))
        try:
            yield progress
        finally:
            del self.under_way[part]

    @contextmanager
    def _explained(self, part: Part, revision: str) -> Iterator[None]:
        folder = self._cache / part.folder(revision)
        lead = f"{part} is not in the cache folder {folder} and cannot be fetched:"
        try:
            yield
        except OSError as error:
            self._ended("failed")
            raise of_disk(f"{lead} {self._explain(error)}", error) from error
        except (FetchError, LockfileError) as error:
            self._ended("failed")
            raise _MEANINGS.get(type(error), ModelRefused)(f"{lead} {error}") from error

    def _explain(self, error: OSError) -> str:
        if error.errno in FULL:
            free = shutil.disk_usage(self._cache).free / MIB
            return (
                f"the disk is full ({error.strerror}; {free:.1f} MiB are free). Make room on it, for instance with "
                f"`{command()} models remove`."
            )
        if error.errno in LASTING:
            return f"the folder cannot be written ({error}). Mount it writable, or fill it elsewhere."
        return f"{error}."
