"""The original's answers in `tests/golden`: what was asked, and what is wrong with another answer to it.

Lines of text within 1 px, scores within 0.001, texts and order equal. Statuses are the original's, but where it
broke with 500 the request is to be blamed: a 4xx.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from demo.models import clip, face_graphs, ocr
from tests.support.shared import SHARED

FOLDER = Path(__file__).parents[1] / "golden"
BLAMED = {400, 413, 415, 422}
BOX_PX, SCORE = 1.01, 1e-3


@dataclass(frozen=True)
class Case:
    """A request and the original's answer.

    Attributes:
        http: a method and a path; or what is odd about the form, where something is.
        image: name of a picture.
        body: of the answer; None where only the status is compared.
    """

    id: str
    status: int
    http: str = ""
    entries: str | None = None
    image: str | None = None
    text: str | None = None
    body: Any = None

    def send(self, client: httpx.Client) -> httpx.Response:
        if " " in self.http:
            return client.request(*self.http.split())
        if self.http == "urlencoded":
            return client.post("/predict", data={"entries": self.entries, "text": self.text})
        return client.post("/predict", files=self._form())

    def fault(self, answer: httpx.Response) -> str | None:
        """What is wrong with an answer."""
        if answer.status_code not in self._right_statuses():
            return f"status {answer.status_code}, not {self.status}: {answer.text[:200]}"
        if answer.is_error:
            return None if "HEAD" in self.http or answer.json()["detail"] else "no detail in the error"
        match self.body:
            case None:
                return None
            case {"ocr": lines, "imageWidth": int(width), "imageHeight": int(height)}:
                found = answer.json()
                fault = _lines_fault(lines, found["ocr"], width, height)
                return fault or _difference({**self.body, "ocr": found["ocr"]}, found)
            case str():
                return _difference(self.body, answer.text)
        return _difference(self.body, answer.json())

    def _right_statuses(self) -> set[int]:
        if "HEAD" in self.http:
            return {self.status, 200}
        return BLAMED if self.status == 500 else {self.status}

    def _form(self) -> list[tuple[str, Any]]:
        parts: list[tuple[str, Any]] = [("entries", (None, self.entries))]
        if self.image:
            name = None if self.http == "image-as-field" else "blob"
            parts.append(("image", (name, picture(self.image), "application/octet-stream")))
        if self.text is not None:
            name = "t.txt" if self.http == "text-as-file" else None
            parts.append(("text", (name, self.text)))
        return [*parts, ("foo", (None, "bar"))] if self.http == "extra-field" else parts


def cases() -> list[Case]:
    return [Case(**case) for case in json.loads((FOLDER / "cases.json").read_text())]


def picture(name: str) -> bytes:
    """A picture of ours, or one that the package scikit-image carries."""
    path = FOLDER / "images" / name
    return (path if path.exists() else _scikit_images() / name).read_bytes()


def build_models(cache: Path) -> None:
    """Fills a cache folder with the models that the cases name.

    The text models are those that gave the answers. No answer here depends on the weights of the others: they are the
    demo's, or where ../shared is the original's, so that all of its answers hold.
    """
    ocr.build(cache / "ocr/PP-OCRv5_mobile")
    for folder, build in (
        ("clip/ViT-T-32__small", clip.build),
        ("facial-recognition/buffalo_s", face_graphs.build),
    ):
        (cache / folder).parent.mkdir(parents=True)
        if SHARED.exists():
            (cache / folder).symlink_to(SHARED / "models" / folder)
        else:
            build(cache / folder)


def _scikit_images() -> Path:
    spec = find_spec("skimage")
    assert spec and spec.origin
    return Path(spec.origin).parent / "data"


def _lines_fault(expected: dict[str, Any], found: dict[str, Any], width: int, height: int) -> str | None:
    if expected.keys() != found.keys():
        return _difference(expected.keys(), found.keys())
    for key, value in expected.items():
        units = {"box": (width, height)}.get(key, (1,))  # fractions of the sides; all else is as it is
        if key == "text":
            is_same = found[key] == value
        else:
            is_same = _is_near(value, found[key], units, BOX_PX if key in ("box", "boxes") else SCORE)
        if not is_same:
            return f"{key}: {_difference(value, found[key])}"
    return None


def _is_near(one: Any, other: Any, units: tuple[int, ...], tolerance: float) -> bool:
    first, second = (np.reshape(np.array(each, float), (-1, len(units))) * units for each in (one, other))
    return first.shape == second.shape and bool((abs(first - second) <= tolerance).all())


def _difference(expected: object, found: object) -> str | None:
    return None if found == expected else f"{found!r}, not {expected!r}"
