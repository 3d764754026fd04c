"""What is sent: requests of each kind, as Immich's server sends them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from adapter.errors import SetupError
from adapter.protocol import TaskName
from bench import scenes
from demo.models.pictures import SAMPLE_QUERIES

PHOTOS, GROUPS, PAGES = 8, 3, 3
MOST_OWN_PICTURES = 12
"""Of a folder: each is answered alone first, so that every later answer can be checked."""

LONGER_TEXTS = (
    "grandmother",
    "two children on a swing",
    "birthday cake with candles on the kitchen table",
    "the old red car in front of home",
    "skiing",
    "my brother and his dog at the lake",
    "fireworks over the harbour",
    "receipt from the hardware store in March",
)

BOUNDARY = "----formdata-undici-041592653589"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


class Kind(StrEnum):
    """Kinds of requests: of smart search, facial recognition, OCR and a search."""

    PICTURE = "picture"
    GROUP = "group"
    PAGE = "page"
    TEXT = "text"


@dataclass(frozen=True)
class Models:
    """Immich's name of the model of each task."""

    clip: str
    faces: str
    ocr: str

    def name(self, task: TaskName) -> str:
        return {TaskName.CLIP: self.clip, TaskName.FACES: self.faces, TaskName.OCR: self.ocr}[task]


@dataclass(frozen=True)
class Request:
    """One request. `name` is unique, and says to people which it is."""

    kind: Kind
    name: str
    entries: str
    image: bytes | None = None
    text: str | None = None

    @cached_property
    def body(self) -> bytes:
        """The form, byte for byte as Node's `fetch` writes it."""
        if self.image is None:
            payload = _field('name="text"', (self.text or "").encode())
        else:
            head = 'name="image"; filename="blob"\r\nContent-Type: application/octet-stream'
            payload = _field(head, self.image)
        return _field('name="entries"', self.entries.encode()) + payload + f"--{BOUNDARY}--\r\n".encode()


Workload = Mapping[Kind, Sequence[Request]]


def build(models: Models, kinds: Sequence[Kind], folder: Path | None = None) -> Workload:
    """The requests of each kind; always the same.

    Args:
        folder: of the user's own pictures, which then are photos, group photos and pages all at once.

    Raises:
        SetupError: there is no picture in the folder.
    """
    own = _own_pictures(folder) if folder else {}
    return {kind: list(_requests(kind, models, own)) for kind in kinds}


def _requests(kind: Kind, models: Models, own: Mapping[str, bytes]) -> Iterator[Request]:
    entries = json.dumps(_entries(kind, models))
    if kind is Kind.TEXT:
        for text in (*(query for query, _ in SAMPLE_QUERIES), *LONGER_TEXTS):
            yield Request(kind, f"text {text!r}", entries, text=text)
        return
    for name, image in (own or _drawn(kind)).items():
        yield Request(kind, f"{kind} {name}", entries, image=image)


def _entries(kind: Kind, models: Models) -> dict[str, Any]:
    """What Immich asks for with its default settings."""
    match kind:
        case Kind.PICTURE:
            return {TaskName.CLIP: {"visual": {"modelName": models.clip}}}
        case Kind.TEXT:
            return {TaskName.CLIP: {"textual": {"modelName": models.clip, "options": {"language": "en"}}}}
        case Kind.GROUP:
            detection = {"modelName": models.faces, "options": {"minScore": 0.7}}
            return {TaskName.FACES: {"detection": detection, "recognition": {"modelName": models.faces}}}
        case Kind.PAGE:
            detection = {"modelName": models.ocr, "options": {"minScore": 0.5, "maxResolution": 736}}
            recognition = {"modelName": models.ocr, "options": {"minScore": 0.8}}
            return {TaskName.OCR: {"detection": detection, "recognition": recognition}}


def _drawn(kind: Kind) -> dict[str, bytes]:
    drawn = {
        Kind.PICTURE: lambda: scenes.photos(PHOTOS),
        Kind.GROUP: lambda: scenes.group_photos(GROUPS),
        Kind.PAGE: lambda: scenes.pages(PAGES),
    }[kind]()
    return {str(number): scenes.preview(image) for number, image in enumerate(drawn, 1)}


def _own_pictures(folder: Path) -> dict[str, bytes]:
    """Previews of pictures of the folder, spread evenly over it, by file name."""
    found = {path.name: path for path in sorted(folder.rglob("*")) if _is_picture(path)}
    if not found:
        raise SetupError(f"there is no picture in {folder}")
    step = max(1, len(found) // MOST_OWN_PICTURES)
    names = list(found)[::step][:MOST_OWN_PICTURES]
    return {name: _preview(found[name]) for name in names}


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except (OSError, UnidentifiedImageError):
        return False


def _preview(path: Path) -> bytes:
    with Image.open(path) as image:
        return scenes.preview(image)


def _field(disposition: str, value: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + value + b"\r\n"
