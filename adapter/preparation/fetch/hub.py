"""The Hugging Face hub: lists repositories and saves files, patiently, going on where a download broke off.

Speaks through the session of `huggingface_hub`, so that its own variables hold: HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, and the usual ones for proxies and certificates. Its `hf_hub_download`
is not used: it keeps nothing of a broken download, checks no hash, and waits as long as a server asks it to.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    get_session,
    hf_hub_url,
    hf_raise_for_status,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported at run time

from adapter.preparation.fetch.hub_errors import (
    ABSENT,
    FOREIGN,
    GARBAGE,
    Absent,
    FetchError,
    OutOfReach,
    Stopped,
    asked_wait_s,
    explain,
    is_passing,
)

log = logging.getLogger(__name__)

WAITS_S = (1.0, 2.0, 4.0, 8.0)
LONGEST_WAIT_S = 60.0
"""A server that asks to be left alone for longer is left alone, and the fetch fails."""
CLIENT = "immich-triton"
# Otherwise every first request of a day asks which AI tools to look for in the environment.
constants.HF_HUB_DISABLE_TELEMETRY = True

Answer = TypeVar("Answer")
Report = Callable[[int, int | None], None]
"""Told how many bytes of a file have arrived, and of how many."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as its source describes it.

    Attributes:
        path: below the model's folder, in Immich's layout.
        size: in bytes, where the source says so.
        sha256: of the content; large files of the hub have it.
        git_sha1: of the git blob; small files of the hub have it.
        from_hub: the URL is the hub's, which may be sent the user's token.
    """

    path: str
    url: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    from_hub: bool = False


@dataclass(frozen=True)
class Listing:
    """Files of one commit of a repository."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def source(self) -> str:
        return f"{self.repository}@{self.commit}"


class Hub:
    """One endpoint. Its methods block; `stop` ends them, from any thread, within a read's time limit.

    Args:
        endpoint: default: HF_ENDPOINT, or the hub itself.
        waits_s: between tries that brought nothing; as many as there are.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        self._api = HfApi(endpoint=endpoint, library_name=CLIENT, library_version=version(CLIENT))
        self._endpoint = self._api.endpoint
        self._waits_s = waits_s
        self._left_alone_until: dict[str, float] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends what is under way, and refuses all that comes later."""
        self._stopping.set()

    def check_running(self) -> None:
        """Raises Stopped once `stop` has been called."""
        if self._stopping.is_set():
            raise Stopped("the service is being stopped.")

    def list_files(self, repository: str, commit: str) -> Listing:
        """All files of a commit, or of a branch; the answer holds the full name of its commit.

        Raises:
            Absent: there is no such repository or commit.
            FetchError: it cannot be had.
        """

        def ask() -> ModelInfo:
            return self._api.model_info(
                repository,
                revision=commit,
                files_metadata=True,
                timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            )

        try:
            info = self._patiently(self._endpoint, ask)
        except GARBAGE as error:
            raise OutOfReach(explain(error, self._endpoint)) from error
        if not info.sha or not info.siblings:
            raise OutOfReach(f"{self._endpoint} lists no files of {repository}.")
        found = info.sha
        files = tuple(self._describe(repository, found, file) for file in info.siblings)
        return Listing(repository, found, files)

    def complete(self, file: RemoteFile) -> RemoteFile:
        """The file with its size and hash, which a mirror may leave out of the listing.

        Raises:
            FetchError: they cannot be had.
        """
        if file.sha256 or file.git_sha1:
            return file
        head = self._patiently(
            self._endpoint,
            lambda: get_hf_file_metadata(file.url, endpoint=self._endpoint),
        )
        match len(head.etag or ""):
            case 64:
                return replace(file, size=head.size, sha256=head.etag)
            case 40:
                return replace(file, size=head.size, git_sha1=head.etag)
        raise FetchError(f"{self._endpoint} gives no hash for {file.path}, so it could not be checked.")

    def save(self, file: RemoteFile, target: Path, report: Report) -> None:
        """Downloads what is missing of a file; what has arrived stays in `target`, also on failure.

        Raises:
            FetchError: it cannot be had.
            OSError: it cannot be written.
        """
        if file.size is not None and size_of(target) > file.size:
            target.unlink()
        server = self._endpoint if file.from_hub else _origin(file.url)
        self._patiently(server, lambda: self._stream(file, target, report), lambda: size_of(target))

    def _describe(self, repository: str, commit: str, sibling: RepoSibling) -> RemoteFile:
        path, large = sibling.rfilename, sibling.lfs
        file = RemoteFile(
            path,
            hf_hub_url(repository, path, revision=commit, endpoint=self._endpoint),
            sibling.size,
            from_hub=True,
        )
        if large:
            return replace(file, size=large.size, sha256=large.sha256)
        return replace(file, git_sha1=sibling.blob_id)

    def _stream(self, file: RemoteFile, target: Path, report: Report) -> None:
        have = size_of(target)
        if have and have == file.size:
            return
        headers = build_hf_headers(
            token=None if file.from_hub else False, library_name=CLIENT, library_version=version(CLIENT)
        )
        headers["Accept-Encoding"] = "identity"  # a range of a compressed answer would be of no use
        if have:
            headers["Range"] = f"bytes={have}-"
        timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", file.url, headers=headers, timeout=timeout_s) as response:
            if have and response.status_code == 416:  # nothing is left to send; the hash will tell
                return
            hf_raise_for_status(response)
            resumed = response.status_code == 206
            self._write(response, target, "ab" if resumed else "wb", file.size, report)

    def _write(
        self, response: httpx2.Response, target: Path, mode: str, size: int | None, report: Report
    ) -> None:
        with target.open(mode) as out:
            arrived = out.tell()
            total = size or _total(response, arrived)
            report(arrived, total)
            for chunk in response.iter_bytes():
                out.write(chunk)
                arrived += len(chunk)
                report(arrived, total)
                self.check_running()
        if total is not None and arrived < total:
            raise httpx2.ReadError(f"{arrived} of {total} bytes arrived", request=response.request)

    def _patiently(
        self, server: str, ask: Callable[[], Answer], arrived: Callable[[], int] = lambda: 0
    ) -> Answer:
        """Asks again after trouble that may pass, with a patience that is renewed whenever something has arrived."""
        tries, before = 0, arrived()
        while True:
            self._check_welcome(server)
            try:
                return ask()
            except FOREIGN as error:
                if arrived() > before:
                    tries, before = 0, arrived()
                self._wait(server, error, tries)
                tries += 1

    def _check_welcome(self, server: str) -> None:
        self.check_running()
        left_s = self._left_alone_until.get(server, 0.0) - time.monotonic()
        if left_s > 0:
            raise OutOfReach(f"{server} asks to be left alone for {left_s:.0f} s more (429).")

    def _wait(self, server: str, error: Exception, tries: int) -> None:
        reason = explain(error, server)
        if not is_passing(error):
            raise (Absent if isinstance(error, ABSENT) else FetchError)(reason) from error
        wait_s = asked_wait_s(error)
        if wait_s is not None and wait_s > LONGEST_WAIT_S:
            self._left_alone_until[server] = time.monotonic() + wait_s
            raise OutOfReach(f"{reason} It asks to be left alone for {wait_s:.0f} s.") from error
        if tries >= len(self._waits_s):
            raise OutOfReach(reason) from error
        wait_s = self._waits_s[tries] if wait_s is None else wait_s
        log.warning("%s Trying again in %.0f s.", reason, wait_s)
        if self._stopping.wait(wait_s):
            self.check_running()


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _total(response: httpx2.Response, arrived: int) -> int | None:
    length = response.headers.get("Content-Length")
    if length is None or "Content-Encoding" in response.headers:
        return None
    return arrived + int(length)


def _origin(url: str) -> str:
    return str(httpx2.URL(url).copy_with(raw_path=b"/"))
