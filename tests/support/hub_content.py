"""What the local hub publishes, what is to go wrong with it, and what it has been asked for."""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass
class Fault:
    """Something to go wrong with requests whose path contains `path`.

    Attributes:
        times: how many requests it hits; -1 is all.
        status: answered instead, with `headers` and `body`.
        cut_after: bytes after which the connection is closed.
        corrupt: other bytes are sent, of the same number.
        no_ranges: the whole file is sent, whatever was asked for.
        bytes_per_s: the speed of sending.
        pause_after: bytes after which `reached` is set and `proceed` waited for.
    """

    path: str
    times: int = 1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"a fault on order"
    cut_after: int | None = None
    corrupt: bool = False
    no_ranges: bool = False
    bytes_per_s: float = 0
    pause_after: int | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    proceed: threading.Event = field(default_factory=threading.Event)


class Request(NamedTuple):
    """A request that arrived; the headers' names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class Hub:
    """What is published, what is to go wrong, and what has been asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.cdn_url = ""
        self.requests: list[Request] = []
        self.without_hashes = False
        self.elsewhere: dict[str, bytes] = {}
        self._commits: dict[str, dict[str, Mapping[str, bytes]]] = {}
        self._heads: dict[tuple[str, str], str] = {}
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def publish(self, repository: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Makes a new commit of these files the head of a branch; returns its name."""
        commits = self._commits.setdefault(repository, {})
        content = json.dumps(
            [repository, len(commits), sorted((name, sha256(files[name])) for name in files)]
        )
        name = hashlib.sha1(content.encode()).hexdigest()
        commits[name] = dict(files)
        self._heads[repository, branch] = name
        return name

    def withdraw(self, repository: str) -> None:
        """Deletes a repository."""
        del self._commits[repository]
        self._heads = {key: name for key, name in self._heads.items() if key[0] != repository}

    def order(self, path: str, **fault: Any) -> Fault:
        """Orders a fault for requests whose path contains `path`."""
        self._faults.append(Fault(path, **fault))
        return self._faults[-1]

    def asked(self, path: str = "", method: str = "GET") -> list[Request]:
        """The requests so far whose path contains `path`."""
        return [request for request in self.requests if path in request.path and request.method == method]

    def commit(self, repository: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        commits = self._commits[repository]
        name = self._heads.get((repository, revision), revision)
        return (name, commits[name]) if name in commits else None

    def has(self, repository: str) -> bool:
        return repository in self._commits

    def fault(self, path: str, *, of_body: bool) -> Fault | None:
        """The fault that hits a request, if one does: one that replaces the answer, or one of a file's body."""
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.path in path and (not fault.status) == of_body:
                    fault.times -= 1
                    return fault
        return None


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    """The name that git gives to a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
