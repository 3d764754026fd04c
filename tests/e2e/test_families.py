"""Every family that Immich publishes, from the hub to an answer: the vectors are those of the published graph.

Each claim is checked to be one: what would come out without it is far off.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from tests.support import families
from tests.support.families import SIGLIP_LENGTH, Files
from tests.support.hub import Hub, running_hub
from tests.support.originals import (
    Original,
    Vector,
    assert_far,
    assert_same,
    cropped,
    pictures,
    squashed,
)
from tests.support.pictures import encode
from tests.support.server import Server

pytestmark = pytest.mark.triton

SIGLIP = "ViT-B-16-SigLIP2__webli"
XLM_ROBERTA = "XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k"
NLLB = "nllb-clip-base-siglip__v1"
OPEN_CLIP: dict[str, Callable[[], Files]] = {
    "ViT-B-32__openai": lambda: families.open_clip(1),
    "ViT-B-16__openai": lambda: families.open_clip(families.BATCH),
    "ViT-H-14-378-quickgelu__dfn5b": families.open_clip_with_weights_apart,
    "ViT-L-14__openai": families.newer_open_clip,
}
MCLIP: dict[str, Callable[[], Files]] = {
    "LABSE-Vit-L-14": lambda: families.multilingual_clip(TensorProto.INT32),
    "XLM-Roberta-Large-Vit-B-32": lambda: families.multilingual_clip(TensorProto.INT64),
}
REPOSITORIES: dict[str, Callable[[], Files]] = {
    **OPEN_CLIP,
    **MCLIP,
    SIGLIP: families.siglip,
    XLM_ROBERTA: families.xlm_roberta,
    NLLB: lambda: families.nllb(("eng_Latn", "deu_Latn", "zho_Hant")),
}
TEXTS = ("a dog", "two dogs, by the sea", "Ein Hund", "x" * 200)


class Bench:
    """A service that knows a hub and had an empty cache, and the originals of what the hub publishes."""

    def __init__(self, server: Server, hub: Hub, folder: Path) -> None:
        self._server, self._hub, self._folder = server, hub, folder

    def original(self, name: str) -> Original:
        return Original(self._folder / name, REPOSITORIES[name]())

    def see(self, name: str, images: Sequence[Image.Image]) -> list[Vector]:
        """The service's vectors of pictures that are sent at once."""
        with ThreadPoolExecutor(len(images)) as pool:
            return list(pool.map(lambda image: self._server.clip(name, encode(image, "PNG")), images))

    def read(self, name: str, *texts: str, language: str | None = None) -> list[Vector]:
        """The service's vectors of texts that are sent at once."""
        entries = {"clip": {"textual": {"modelName": name, "options": {"language": language}}}}
        with ThreadPoolExecutor(len(texts)) as pool:
            answers = list(pool.map(lambda text: self._server.predict(entries, text=text), texts))
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        return [np.array(json.loads(answer.json()["clip"]), np.float32) for answer in answers]

    def asked(self, name: str) -> set[str]:
        """The files of a repository that the hub was asked for."""
        paths = [request.path for request in self._hub.asked(f"/immich-app/{name}/resolve/")]
        return {path.split("/resolve/")[1].partition("/")[2] for path in paths}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        for name, build in REPOSITORIES.items():
            hub.publish(f"immich-app/{name}", build())
        yield hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def bench(hub: Hub, folder: Path) -> Iterator[Bench]:
    state = folder / "state"
    state.mkdir()
    with Server(state, folder / "cache", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0") as server:
        yield Bench(server, hub, folder / "originals")
        log = server.log.read_text()
    assert "not batched" not in log, "a graph of a family could not be made batchable"


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_every_kind_of_open_clip_export_gives_its_own_vectors(bench: Bench, name: str) -> None:
    original, images = bench.original(name), pictures()
    for found, image in zip(bench.see(name, images), images, strict=True):
        assert_same(found, original.see(cropped(image)))
    assert not [path for path in bench.asked(name) if path.startswith("textual/")], "nobody asked for texts"
    for found, text in zip(bench.read(name, *TEXTS), TEXTS, strict=True):
        assert_same(found, original.read(text, "<|endoftext|>"))
    assert bench.asked(name) == set(REPOSITORIES[name]())


def test_siglip_texts_are_canonicalised_and_fill_64_tokens(bench: Bench) -> None:
    original = bench.original(SIGLIP)
    texts = "  Two \tDogs, (by) the_sea!", "a - b"
    cleaned = "two dogs by thesea", "a  b"
    for found, text, clean in zip(bench.read(SIGLIP, *texts), texts, cleaned, strict=True):
        expected = original.read(clean, "</s>", length=SIGLIP_LENGTH)
        assert_same(found, expected)
        assert_far(expected, original.read(text, "</s>", length=SIGLIP_LENGTH))
        assert_far(expected, original.read(clean, "<pad>", length=SIGLIP_LENGTH))


def test_siglip_pictures_are_squashed_as_its_file_says(bench: Bench) -> None:
    original, images = bench.original(SIGLIP), pictures()
    for found, image in zip(bench.see(SIGLIP, images), images, strict=True):
        expected = original.see(squashed(image, Image.Resampling.BILINEAR))
        assert_same(found, expected)
        assert_far(expected, original.see(squashed(image, Image.Resampling.BICUBIC)))
        if image.width != image.height:
            assert_far(expected, original.see(cropped(image)))


def test_siglip_pictures_are_cropped_as_before_33_where_the_setting_says_so(
    bench: Bench, folder: Path, tmp_path: Path
) -> None:
    bench.see(SIGLIP, pictures()[:1])  # so that it is there
    with Server(tmp_path, folder / "cache") as server:
        assert f"{SIGLIP}: pictures are resized as its file says (squash, bilinear)" in server.log.read_text()
    original = bench.original(SIGLIP)
    with Server(tmp_path, folder / "cache", IMMICH_TRITON_CLIP_RESIZE="shortest") as server:
        for image in pictures():
            assert_same(server.clip(SIGLIP, encode(image, "PNG")), original.see(cropped(image)))
        assert "pictures are resized" not in server.log.read_text()


@pytest.mark.parametrize("name", MCLIP)
def test_multilingual_clip_is_told_what_is_padding_in_numbers_of_its_own_type(
    bench: Bench, name: str
) -> None:
    original = bench.original(name)
    for found, text in zip(bench.read(name, *TEXTS), TEXTS, strict=True):
        assert_same(found, original.read(text, "<pad>"))
    assert_far(original.read("a dog", "<pad>"), original.read("a dog", "<pad>", masked=False))


def test_xlm_roberta_tells_tokens_from_padding_itself(bench: Bench) -> None:
    original = bench.original(XLM_ROBERTA)
    for found, text in zip(bench.read(XLM_ROBERTA, *TEXTS), TEXTS, strict=True):
        assert_same(found, original.read(text, "<pad>"))
    assert_far(original.read("a dog", "<pad>"), original.read("a dog", "</s>"))


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("de", "deu_Latn"),
        ("de-DE", "deu_Latn"),
        ("zh-Hant", "zho_Hant"),
        ("tlh", "eng_Latn"),
        (None, ""),
    ],
)
def test_nllb_texts_begin_with_the_code_of_their_language(
    bench: Bench, language: str | None, code: str
) -> None:
    original = bench.original(NLLB)
    found = bench.read(NLLB, "ein Hund", "two dogs", language=language)
    for vector, text in zip(found, ("ein Hund", "two dogs"), strict=True):
        assert_same(vector, original.read(f"{code}{text}", "<pad>"))
        for other in {"eng_Latn", "deu_Latn", "zho_Hant", "eng_Latn ", ""} - {code}:
            assert_far(vector, original.read(f"{other}{text}", "<pad>"))
