"""What is sent, byte for byte and picture by picture."""

import io
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adapter.compare import pictures
from adapter.compare.workload import CONTENT_TYPE, IMMICHS_MODELS, Kind, Request, build
from adapter.errors import SetupError
from adapter.protocol import parse_entries

Drawn = Mapping[Kind, Mapping[str, bytes]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return pictures.drawn()


def fields(request: Request) -> dict[Any, Any]:
    """The form as a server reads it."""
    head = b"Content-Type: " + CONTENT_TYPE.encode() + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in message.iter_parts()
    }


@pytest.mark.parametrize("payload", [{"image": b"\xff\xd8-\n--"}, {"text": "Bäume".encode()}])
def test_a_request_is_the_form_that_immich_sends(payload: dict[str, bytes]) -> None:
    text = payload["text"].decode() if "text" in payload else None
    request = Request(Kind.TEXTS, "one", "m", payload.get("image"), text)
    assert fields(request) == {"entries": request.entries.encode(), **payload}


def test_the_drawn_requests_are_understood_by_the_service(drawn: Drawn) -> None:
    found = build(Kind, IMMICHS_MODELS, drawn)
    names = [request.name for requests in found.values() for request in requests]
    assert len(names) == len(set(names))
    for kind, requests in found.items():
        for request in requests:
            assert list(parse_entries(request.entries)) == [kind.task]
            assert (request.text is None) == (kind is not Kind.TEXTS)


def test_drawn_pictures_are_previews_as_large_as_real_ones(drawn: Drawn) -> None:
    for data in (data for of_kind in drawn.values() for data in of_kind.values()):
        with Image.open(io.BytesIO(data)) as preview:
            assert (preview.format, max(preview.size)) == ("JPEG", 1440)
        assert 130_000 < len(data) < 400_000


def test_own_pictures_are_sent_as_previews(tmp_path: Path) -> None:
    Image.new("RGBA", (3000, 2000)).save(tmp_path / "large.png")
    Image.new("L", (300, 200)).save(tmp_path / "small.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    (large, small) = build([Kind.GROUPS], IMMICHS_MODELS, pictures.own(tmp_path))[Kind.GROUPS]
    assert (large.name, small.name) == ("groups large.png", "groups small.jpg")
    assert large.image
    with Image.open(io.BytesIO(large.image)) as preview:
        assert (preview.format, preview.size) == ("JPEG", (1440, 960))


def test_of_many_pictures_some_are_taken_from_everywhere(tmp_path: Path) -> None:
    for number in range(60):
        Image.new("L", (8, 8)).save(tmp_path / f"{number:02}.png")
    names = list(pictures.own(tmp_path)[Kind.PICTURES])
    assert (len(names), names[0], names[-1] > "40") == (pictures.MOST_OWN_PICTURES, "00.png", True)


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no picture in"):
        pictures.own(tmp_path)
