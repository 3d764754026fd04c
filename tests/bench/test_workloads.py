"""What is sent, and in which loads."""

import io
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adapter.errors import SetupError
from adapter.protocol import Part, TaskName, TypeName, parse_entries
from bench import opening, scenes, workloads
from bench.scenarios import Mix, choose, kinds_of
from bench.workloads import CONTENT_TYPE, Kind, Models, Request

MODELS = Models("ViT-B-32__openai", "buffalo_l", "PP-OCRv5_mobile")


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
    request = Request(Kind.TEXT, "one", '{"clip": {}}', payload.get("image"), text)
    assert fields(request) == {"entries": b'{"clip": {}}', **payload}


def test_the_built_in_requests_are_understood_by_the_service() -> None:
    found = workloads.build(MODELS, list(Kind))
    names = [request.name for requests in found.values() for request in requests]
    assert len(names) == len(set(names))
    for kind, requests in found.items():
        for request in requests:
            entries = parse_entries(request.entries)
            assert entries
            assert (request.text is None) == (kind is not Kind.TEXT)
    words = [len((request.text or "").split()) for request in found[Kind.TEXT]]
    assert (min(words), max(words)) == (1, 8)


def test_photos_are_previews_as_large_as_real_ones() -> None:
    for image in scenes.photos(3):
        data = scenes.preview(image)
        with Image.open(io.BytesIO(data)) as preview:
            assert (preview.format, max(preview.size)) == ("JPEG", 1440)
        assert 130_000 < len(data) < 400_000


def test_own_pictures_are_sent_as_previews(tmp_path: Path) -> None:
    Image.new("RGBA", (3000, 2000)).save(tmp_path / "large.png")
    Image.new("L", (300, 200)).save(tmp_path / "small.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    (large, small) = workloads.build(MODELS, [Kind.GROUP], tmp_path)[Kind.GROUP]
    assert (large.name, small.name) == ("group large.png", "group small.jpg")
    assert large.image
    with Image.open(io.BytesIO(large.image)) as preview:
        assert (preview.format, preview.size) == ("JPEG", (1440, 960))


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no picture in"):
        workloads.build(MODELS, [Kind.PICTURE], tmp_path)


def test_every_mix_is_run_by_default() -> None:
    chosen = choose(())
    assert len({scenario.name for scenario in chosen}) == len(chosen)
    assert kinds_of(chosen) == list(Kind)
    assert {"pictures at 16", "texts at 1", "default mix", "search under indexing"} <= {
        s.name for s in chosen
    }


def test_concurrency_is_of_the_mixes_of_one_kind() -> None:
    chosen = choose([Mix.PAGES, Mix.DEFAULT, Mix.PAGES], [2, 3])
    assert [scenario.name for scenario in chosen] == ["pages at 2", "pages at 3", "default mix"]
    assert chosen[0].workers == {Kind.PAGE: 2}
    assert kinds_of(chosen[:2]) == [Kind.PAGE]


def test_a_part_is_preloaded_by_immichs_own_variable() -> None:
    part = Part(TaskName.FACES, TypeName.DETECTION, "buffalo_l")
    assert opening.preload_variable(part) == "MACHINE_LEARNING_PRELOAD__FACIAL_RECOGNITION__DETECTION"


def test_a_secret_path_is_not_reported() -> None:
    command = "immich-triton bench --url http://nas:3003/0123456789abcdef/ --baseline http://nas:3004"
    assert (
        opening.without_paths(command)
        == "immich-triton bench --url http://nas:3003 --baseline http://nas:3004"
    )
