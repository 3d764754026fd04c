"""A client in Node, as Immich's server is one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapter.embedded import free_port
from demo.models.clip import NAME
from demo.models.pictures import sample_pictures
from tests.support.asking import clip_entries
from tests.support.node import ask, needs_node
from tests.support.server import Server

pytestmark = [pytest.mark.triton, needs_node]


def test_a_picture_and_a_text_get_their_vectors_although_the_first_url_is_dead(
    server: Server, tmp_path: Path
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    path = tmp_path / "sunset.png"
    Image.fromarray(sample_pictures()["sunset"]).save(path)
    refused, picture = ask(dead, server.url, entries=clip_entries("visual"), image=str(path))
    _, text = ask(dead, server.url, entries=clip_entries("textual"), text="sunset")
    assert refused == {"url": dead, "error": "ECONNREFUSED"}
    assert (picture["ping"], picture["status"]) == ("pong", 200)
    assert (picture["body"]["imageHeight"], picture["body"]["imageWidth"]) == (360, 480)
    assert text.get("status") == 200, text
    vectors = [json.loads(answer["body"]["clip"]) for answer in (picture, text)]
    np.testing.assert_allclose(vectors[0], server.clip(NAME, path.read_bytes()), atol=1e-4)
    assert np.dot(*vectors) > 0.5


def test_the_path_of_the_url_is_kept(server: Server) -> None:
    (answer,) = ask(f"{server.url}/secret/", entries={}, text="x")
    assert (answer["url"], answer["status"]) == (f"{server.url}/secret/predict", 404)
