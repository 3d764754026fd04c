"""What is sent, byte for byte and picture by picture."""

import io
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


def test_drawn_requests_are_understood_and_their_pictures_as_large_as_real_previews() -> None:
    found = build(Kind, IMMICHS_MODELS, pictures.drawn())
    requests = [request for of_kind in found.values() for request in of_kind]
    assert len({request.name for request in requests}) == len(requests)
    for request in requests:
        assert list(parse_entries(request.entries)) == [request.kind.task]
        assert (request.text is None) == (request.kind is not Kind.TEXTS)
        if request.image:
            assert 130_000 < len(request.image) < 400_000
            with Image.open(io.BytesIO(request.image)) as preview:
                assert (preview.format, max(preview.size)) == ("JPEG", 1440)


def test_own_pictures_are_sent_as_previews(tmp_path: Path) -> None:
    Image.new("RGBA", (3000, 2000)).save(tmp_path / "large.png")
    Image.new("L", (300, 200)).save(tmp_path / "small.JPG")
    for name in ("notes.txt", "broken.png"):
        (tmp_path / name).write_text("no picture")
    (large, small) = build([Kind.GROUPS], IMMICHS_MODELS, pictures.own(tmp_path))[Kind.GROUPS]
    assert (large.name, small.name) == ("groups large.png", "groups small.JPG")
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
