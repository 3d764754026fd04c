"""The real PP-OCRv6_small, from the hub to texts."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from adapter.preparation.fetch.sources import RAPIDOCR_SHA256
from tests.support.golden import picture
from tests.support.hub import running_hub, sha256
from tests.support.server import NewState, Server

pytestmark = pytest.mark.triton

MODEL, ONLY_MAIN = "PP-OCRv6_small", "ViT-B-32__openai"
GRAPHS = {
    "detection/model.onnx": "PP-OCRv6/det/PP-OCRv6_det_small",
    "recognition/model.onnx": "PP-OCRv6/rec/PP-OCRv6_rec_small",
}
"""As the hub publishes them, and RapidOCR; PyPI's `rapidocr` holds those two."""


def content(release_path: str) -> bytes:
    spec = find_spec("rapidocr")
    assert spec and spec.origin
    return (Path(spec.origin).parent / "models" / f"{Path(release_path).name}.onnx").read_bytes()


@pytest.fixture(scope="module")
def server(new_state: NewState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with an empty cache that knows a hub. Nothing of v2 is asked of RapidOCR, which is far away."""
    with running_hub() as hub:
        hub.publish(f"immich-app/{MODEL}", {path: content(name) for path, name in GRAPHS.items()}, "v2")
        hub.publish(f"immich-app/{ONLY_MAIN}", {"README.md": b""})
        variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "MACHINE_LEARNING_MODEL_REVISION": "v2"}
        with Server(new_state(), tmp_path_factory.mktemp("cache"), **variables) as server:
            yield server


def test_these_are_the_graphs_that_rapidocr_publishes() -> None:
    assert all(sha256(content(name)) == RAPIDOCR_SHA256[name] for name in GRAPHS.values())


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (
            "text_24_red_on_yellow.jpg",
            ["Invoice No. 2024-0117", "Total amount: $1,234.56", "Due date: 31/12/2024"],
        ),
        ("text_48_white_on_blue.jpg", ["HELLO WORLD", "Immich OCR test"]),
        ("text_accents.png", ["Crème brûlée à Besançon", "Größe Straße Äpfel Öl"]),
        ("text_angle_15.jpg", ["Rotated by fifteen degrees", "second line of text"]),
    ],
)
def test_golden_pictures_are_read(server: Server, image: str, text: list[str]) -> None:
    entries = {"ocr": {kind: {"modelName": MODEL} for kind in ("detection", "recognition")}}
    answer = server.predict(entries, picture(image))
    assert answer.status_code == 200, answer.text
    assert answer.json()["ocr"]["text"] == text


@pytest.mark.parametrize("name", ["PP-OCRv6_large", "XX__PP-OCRv6_small", "foo__bar__PP-OCRv5_mobile"])
@pytest.mark.parametrize("types", [("detection",), ("detection", "recognition")])
def test_a_name_of_an_unknown_version_size_or_language_is_refused_with_near_ones(
    server: Server, name: str, types: tuple[str, ...]
) -> None:
    answer = server.predict(
        {"ocr": {kind: {"modelName": name} for kind in types}}, picture("text_small_12.png")
    )
    assert answer.status_code == 422
    assert "Did you mean " in answer.json()["detail"]


def test_a_model_that_lacks_the_revision_is_refused_and_says_so(server: Server) -> None:
    answer = server.predict({"clip": {"textual": {"modelName": ONLY_MAIN}}}, text="a dog")
    assert answer.status_code == 422
    assert "has no revision 'v2' of this model" in answer.json()["detail"]
