"""How the local hub answers: what `huggingface_hub` asks for, in the hub's own words."""

import json
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.support.hub_content import Fault, Hub, Request, git_sha1, sha256

LARGE_SUFFIXES = (".onnx", ".onnx_data", ".data", ".armnn", ".rknn")
CHUNK = 16 * 1024


class Handler(BaseHTTPRequestHandler):
    """Answers for the hub that a subclass names."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.command, path, headers))
        if fault := self.hub.fault(path, of_body=False):
            return self._answer(fault.status, fault.body, fault.headers)
        for pattern, route in self._ROUTES:
            if match := re.fullmatch(pattern, path):
                return route(self, **match.groupdict())
        content = self.hub.elsewhere.get(path)
        return self._not_found("EntryNotFound") if content is None else self._file(path, content, {})

    def log_message(self, *_: object) -> None:
        pass

    def _info(self, repository: str, revision: str | None) -> None:
        if found := self._find(repository, revision or "main"):
            name, files = found
            siblings = [_sibling(path, files[path], not self.hub.without_hashes) for path in files]
            self._json({"id": repository, "modelId": repository, "sha": name, "siblings": siblings})

    def _tree(self, repository: str, revision: str, folder: str | None) -> None:
        if found := self._find(repository, revision):
            files = found[1]
            entries = [_entry(path, files[path]) for path in files if path.startswith(folder or "")]
            self._json(entries)

    def _resolve(self, repository: str, revision: str, path: str) -> None:
        if not (found := self._find(repository, revision)):
            return None
        name, files = found
        if path not in files:
            return self._not_found("EntryNotFound")
        content, headers = files[path], {"X-Repo-Commit": name}
        if not path.endswith(LARGE_SUFFIXES):
            return self._file(path, content, {**headers, "ETag": f'"{git_sha1(content)}"'})
        headers |= {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
        headers["Location"] = f"{self.hub.cdn_url}/cdn/{repository}/{name}/{path}"
        return self._answer(302, b"", headers)

    def _cdn(self, repository: str, revision: str, path: str) -> None:
        if found := self._find(repository, revision):
            self._file(path, found[1][path], {"ETag": f'"{sha256(found[1][path])}"'})

    _REPOSITORY = r"(?P<repository>[^/]+/[^/]+)"
    _ROUTES = (
        (rf"/api/models/{_REPOSITORY}(/revision/(?P<revision>[^/]+))?", _info),
        (rf"/api/models/{_REPOSITORY}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", _tree),
        (rf"/{_REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _resolve),
        (rf"/cdn/{_REPOSITORY}/(?P<revision>[^/]+)/(?P<path>.+)", _cdn),
    )

    def _find(self, repository: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        if not self.hub.has(repository):
            self._not_found("RepoNotFound", 401)  # what the hub says to those without a token
            return None
        found = self.hub.commit(repository, revision)
        if found is None:
            self._not_found("RevisionNotFound")
        return found

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _not_found(self, code: str, status: int = 404) -> None:
        self._answer(status, code.encode(), {"X-Error-Code": code})

    def _file(self, path: str, content: bytes, headers: Mapping[str, str]) -> None:
        fault = self.hub.fault(path, of_body=True) if self.command == "GET" else None
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and not (fault and fault.no_ranges) else 0
        if start and start >= len(content):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        body = bytes(byte ^ 255 for byte in content[start:]) if fault and fault.corrupt else content[start:]
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        return self._answer(206 if start else 200, body, {**headers, **span, "Accept-Ranges": "bytes"}, fault)

    def _answer(
        self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self._send(body, fault or Fault(""))
        except ConnectionError:  # whoever asked has gone away
            self.close_connection = True

    def _send(self, body: bytes, fault: Fault) -> None:
        end = len(body) if fault.cut_after is None else fault.cut_after
        stop = end if fault.pause_after is None else fault.pause_after
        self._send_at_speed(body[:stop], fault.bytes_per_s)
        if fault.pause_after is not None:
            fault.reached.set()
            fault.proceed.wait(30)
        self._send_at_speed(body[stop:end], fault.bytes_per_s)
        self.close_connection = fault.cut_after is not None

    def _send_at_speed(self, body: bytes, bytes_per_s: float) -> None:
        for start in range(0, len(body), CHUNK):
            self.wfile.write(body[start : start + CHUNK])
            if bytes_per_s:
                time.sleep(CHUNK / bytes_per_s)


def _pointer(content: bytes) -> bytes:
    lines = (
        "version https://git-lfs.github.com/spec/v1",
        f"oid sha256:{sha256(content)}",
        f"size {len(content)}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _sibling(path: str, content: bytes, with_hashes: bool) -> dict[str, object]:
    if not with_hashes:
        return {"rfilename": path}
    if not path.endswith(LARGE_SUFFIXES):
        return {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
    pointer = _pointer(content)
    lfs = {"sha256": sha256(content), "size": len(content), "pointerSize": len(pointer)}
    return {"rfilename": path, "size": len(content), "blobId": git_sha1(pointer), "lfs": lfs}


def _entry(path: str, content: bytes) -> dict[str, object]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_sha1(content)}
    if path.endswith(LARGE_SUFFIXES):
        pointer = _pointer(content)
        entry |= {
            "oid": git_sha1(pointer),
            "lfs": {"oid": sha256(content), "size": len(content), "pointerSize": len(pointer)},
        }
    return entry
