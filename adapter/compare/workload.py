"""What is sent: requests of each kind, byte for byte as Immich's server sends them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from adapter.protocol import TaskName

TEXTS = (
    "sunset",
    "grandmother",
    "a yellow lemon",
    "two children on a swing",
    "my brother and his dog at the lake",
    "birthday cake with candles on the kitchen table",
    "fireworks over the harbour",
    "receipt from the hardware store in March",
    "Erdbeere",
    "ciel de nuit",
    "mar azul",
    "雪山",
)
BOUNDARY = "----formdata-undici-041592653589"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


class Kind(StrEnum):
    """Kinds of requests: of smart search, of a search, of facial recognition, of OCR."""

    PICTURES = "pictures"
    TEXTS = "texts"
    GROUPS = "groups"
    PAGES = "pages"

    @property
    def task(self) -> TaskName:
        return {Kind.GROUPS: TaskName.FACES, Kind.PAGES: TaskName.OCR}.get(self, TaskName.CLIP)


Models = Mapping[TaskName, str]
IMMICHS_MODELS: Models = {
    TaskName.CLIP: "ViT-B-32__openai",
    TaskName.FACES: "buffalo_l",
    TaskName.OCR: "PP-OCRv5_mobile",
}
"""Of Immich's default settings."""


@dataclass(frozen=True)
class Request:
    """One request. `name` is unique, and says to people which it is."""

    kind: Kind
    name: str
    model: str
    image: bytes | None = None
    text: str | None = None

    @cached_property
    def entries(self) -> str:
        return json.dumps(_entries(self.kind, self.model))

    @cached_property
    def body(self) -> bytes:
        """The form as Node's `fetch` writes it."""
        if self.image is None:
            payload = _field('name="text"', (self.text or "").encode())
        else:
            head = 'name="image"; filename="blob"\r\nContent-Type: application/octet-stream'
            payload = _field(head, self.image)
        return _field('name="entries"', self.entries.encode()) + payload + f"--{BOUNDARY}--\r\n".encode()


Workload = Mapping[Kind, Sequence[Request]]


def build(kinds: Iterable[Kind], models: Models, pictures: Mapping[Kind, Mapping[str, bytes]]) -> Workload:
    """The requests of each kind.

    Args:
        pictures: for each kind but `texts`: name → JPEG.
    """
    return {
        kind: [Request(kind, f"text {text!r}", models[kind.task], text=text) for text in TEXTS]
        if kind is Kind.TEXTS
        else [
            Request(kind, f"{kind} {name}", models[kind.task], image=image)
            for name, image in pictures[kind].items()
        ]
        for kind in kinds
    }


def _entries(kind: Kind, model: str) -> dict[str, Any]:
    """What Immich asks for with its default settings."""
    match kind:
        case Kind.PICTURES:
            return {kind.task: {"visual": {"modelName": model}}}
        case Kind.TEXTS:
            return {kind.task: {"textual": {"modelName": model, "options": {"language": "en"}}}}
        case Kind.GROUPS:
            detection = {"modelName": model, "options": {"minScore": 0.7}}
            return {kind.task: {"detection": detection, "recognition": {"modelName": model}}}
        case Kind.PAGES:
            detection = {"modelName": model, "options": {"minScore": 0.5, "maxResolution": 736}}
            recognition = {"modelName": model, "options": {"minScore": 0.8}}
            return {kind.task: {"detection": detection, "recognition": recognition}}


def _field(disposition: str, value: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + value + b"\r\n"
