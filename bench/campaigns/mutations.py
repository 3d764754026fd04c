"""Requests made wrong: of golden requests, of pictures of every form and of Triton's tensors."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapter.compare.workload import BOUNDARY, CONTENT_TYPE, TEXTS
from adapter.preparation.catalog import DEMO
from adapter.preparation.manifest import public_name
from adapter.protocol import TaskName
from adapter.tensors import encode
from adapter.triton import HEADER_LENGTH, REPOSITORY_KEY_HEADER, bytes_tensor
from bench.campaigns import wire
from bench.campaigns.asking import everything
from bench.campaigns.hosts import KEY
from bench.campaigns.pictures import BROKEN, collection
from bench.run import parts_of

SHARES = {"framing": 30, "headers": 20, "json": 25, "picture": 20, "tensor": 4, "key": 1}
"""Of each kind of mutation, in a hundred."""
GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "cases.json"
DEMOS = {"ViT-T-32__small": TaskName.CLIP, "buffalo_s": TaskName.FACES, "PP-OCRv5_mobile": TaskName.OCR}
GUARDED = (
    "repository/models/{}/load",
    "repository/models/{}/unload",
    "repository/index",
    "logging",
    "trace/setting",
)
TOKENS = (
    b"\r\n", b"\r\n\r\n", b"--", b"\0", b"\xff", b'"', b"\\", b":", b";", b"=", b"%", b"[" * 3000, b'{"a":' * 3000,
    b"x" * 9000, b"-1", b"0", b"1e999", b"NaN", b"18446744073709551616", b"\xf0\x9f", b"../../etc/passwd",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"Content-Encoding: gzip\r\n", f"--{BOUNDARY}\r\n".encode(),
    b'Content-Disposition: form-data; name="entries"\r\n\r\n', b"; filename*=utf-8''%ff", b"; boundary=", b"HTTP/2.0",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 2**70, float("nan"), float("inf"), "", "\ud800", "\0", "x" * 9000, [], {}, [[[{}]]],
    *DEMO.values(), "visual", "detection", 0.5, "0.5", 32, 8192, "../../etc/passwd", "ViT-B-32__openai/..", {"a": 1},
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request in bytes. `is_whole`: it has to be answered. `to_triton`: to Triton, past the adapter."""

    request: bytes
    is_whole: bool = True
    to_triton: bool = False


@dataclass
class Corpus:
    """What is mutated: entries of the golden requests, and small pictures of every form."""

    pictures: list[bytes] = field(default_factory=lambda: [file for _, file in collection(96, (8, 40, 96))])
    entries: list[str] = field(default_factory=lambda: _golden_entries())
    models: list[str] = field(default_factory=lambda: [public_name(part) for part in parts_of(everything())])


class Maker:
    """Makes the request of one number."""

    def __init__(self, corpus: Corpus, seed: str) -> None:
        self._corpus, self._chance = corpus, random.Random(seed)  # noqa: S311

    def make(self, kind: str) -> Case:
        made: Case = getattr(self, f"_{kind}")()
        return made

    def _framing(self) -> Case:
        return _predict(self._mutated(self._form(self._entries())))

    def _headers(self) -> Case:
        form = self._form(self._entries())
        return Case(self._mutated(wire.head("/predict", CONTENT_TYPE, len(form))) + form, is_whole=False)

    def _json(self) -> Case:
        entries = self._entries()
        try:
            found = json.loads(entries)
        except ValueError:
            found = {}
        self._spoil(found)
        spoiled = json.dumps(found).encode()
        return _predict(self._form(self._mutated(spoiled) if self._chance.random() < 0.3 else spoiled))

    def _picture(self) -> Case:
        file = self._mutated(self._chance.choice(self._corpus.pictures))
        if self._chance.random() < 0.1:
            file = BROKEN[self._chance.choice([*BROKEN])](file)
        return _predict(_form(_entries_of_pictures(self._chance), file))

    def _tensor(self) -> Case:
        """To a model, with a header and a content that do not fit each other."""
        header, content = encode({"image": bytes_tensor(self._chance.choice(self._corpus.pictures))})
        if self._chance.random() < 0.3:
            header, content = encode({"image": np.zeros((1, 3, 8, 8), np.float32)})
        body = b"".join(content)
        if spoiled := self._chance.randrange(3):
            header = self._mutated(header) if spoiled == 1 else header
            body = self._mutated(body) if spoiled == 2 else body
        length = f"{HEADER_LENGTH}: {max(0, len(header) + self._chance.choice((0, 0, 0, -1, 1, 10**6)))}\r\n"
        return self._of_triton(
            f"models/{self._chance.choice(self._corpus.models)}/infer", header + body, length
        )

    def _key(self) -> Case:
        """To what the key guards, with another key."""
        model = self._chance.choice([*self._corpus.models, "x"])
        path = self._chance.choice(GUARDED).format(model)
        key = self._chance.choice(("", KEY[:-1], KEY + "x", KEY.upper(), self._chance.randbytes(8).hex()))
        return self._of_triton(path, b"{}", f"{REPOSITORY_KEY_HEADER}: {key}\r\n" * self._chance.randrange(2))

    def _of_triton(self, path: str, body: bytes, more: str) -> Case:
        head = wire.head(f"/v2/{path}", "application/octet-stream", len(body), more)
        return Case(head + body, is_whole=True, to_triton=True)

    def _entries(self) -> str:
        return self._chance.choice(self._corpus.entries)

    def _form(self, entries: bytes | str) -> bytes:
        return _form(
            entries, self._chance.choice((self._chance.choice(self._corpus.pictures), TEXTS[0], None))
        )

    def _mutated(self, data: bytes) -> bytes:
        """One to four changes."""
        for _ in range(self._chance.randint(1, 4)):
            at, length = self._chance.randint(0, len(data)), self._chance.choice((1, 1, 2, 4, 30, 300))
            some = data[at : at + length]
            flipped = bytes(byte ^ 1 << self._chance.randrange(8) for byte in some)
            noise, token = self._chance.randbytes(length), self._chance.choice(TOKENS)
            new = self._chance.choice((b"", b"", some * 2, some[::-1], flipped, noise, token))
            end = at if new in TOKENS else at + length
            data = data[:at] + new + data[end:]
        return data

    def _spoil(self, value: Any) -> None:
        """Changes one thing of a JSON value, anywhere in it."""
        while isinstance(value, dict | list) and value:
            at = self._chance.choice([*value] if isinstance(value, dict) else range(len(value)))
            if self._chance.random() < 0.4 or not isinstance(value[at], dict | list):
                break
            value = value[at]
        else:
            return
        if isinstance(value, dict) and self._chance.random() < 0.3:
            value[str(self._chance.choice(VALUES))] = value.pop(at)
        elif self._chance.random() < 0.1:
            del value[at]
        else:
            value[at] = self._chance.choice(VALUES)


def _golden_entries() -> list[str]:
    found = {case["entries"] for case in json.loads(GOLDEN.read_bytes()) if case.get("entries")}
    for name, task in DEMOS.items():
        found = {entries.replace(name, DEMO[task]) for entries in found}
    return sorted(found)


def _entries_of_pictures(chance: random.Random) -> str:
    of_kinds = [of_kind[0] for of_kind in everything().values() if of_kind[0].image]
    return chance.choice(of_kinds).entries


def _predict(form: bytes) -> Case:
    return Case(wire.head("/predict", CONTENT_TYPE, len(form)) + form)


def _form(entries: bytes | str, payload: bytes | str | None) -> bytes:
    """A form as Immich's server writes it: a picture, a text, or neither."""
    parts = [b'name="entries"\r\n\r\n' + (entries if isinstance(entries, bytes) else entries.encode())]
    if isinstance(payload, str):
        parts.append(b'name="text"\r\n\r\n' + payload.encode())
    elif payload is not None:
        parts.append(
            b'name="image"; filename="blob"\r\nContent-Type: application/octet-stream\r\n\r\n' + payload
        )
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
