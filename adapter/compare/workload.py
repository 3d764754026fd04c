"""What is sent: requests of each kind, byte for byte as Immich's server sends them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from adapter.protocol import TaskName

TEXTS = (
    "sunset", "grandmother", "a yellow lemon", "two children on a swing", "my brother and his dog at the lake",
    "birthday cake with candles on the kitchen table", "fireworks over the harbour",
    "receipt from the hardware store in March", "Erdbeere", "ciel de nuit", "mar azul", "雪山",
)  # fmt: skip
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
        return json.dumps({self.kind.task: _entries(self.kind, self.model)})

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
Pictures = Mapping[Kind, Mapping[str, bytes]]
"""For each kind but `texts`: name → JPEG."""


def build(kinds: Iterable[Kind], models: Models, pictures: Pictures) -> Workload:
    """The requests of each kind."""
    return {kind: list(_requests(kind, models[kind.task], pictures)) for kind in kinds}


def _requests(kind: Kind, model: str, pictures: Pictures) -> Iterable[Request]:
    if kind is Kind.TEXTS:
        return (Request(kind, f"text {text!r}", model, text=text) for text in TEXTS)
    return (Request(kind, f"{kind} {name}", model, image) for name, image in pictures[kind].items())


def _entries(kind: Kind, model: str) -> dict[str, Any]:
    """What Immich asks a task for with its default settings."""
    match kind:
        case Kind.PICTURES:
            options: dict[str, dict[str, Any]] = {"visual": {}}
        case Kind.TEXTS:
            options = {"textual": {"language": "en"}}
        case Kind.GROUPS:
            options = {"detection": {"minScore": 0.7}, "recognition": {}}
        case Kind.PAGES:
            options = {"detection": {"minScore": 0.5, "maxResolution": 736}, "recognition": {"minScore": 0.8}}
    return {
        part: {"modelName": model, **({"options": chosen} if chosen else {})}
        for part, chosen in options.items()
    }


def _field(disposition: str, value: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + value + b"\r\n"
