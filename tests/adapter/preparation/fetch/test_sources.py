"""Where models come from: the hub's repositories, and RapidOCR's release for PP-OCR."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.preparation.catalog import KNOWN
from adapter.preparation.fetch import sources
from adapter.preparation.fetch.hub import Hub as Client
from adapter.preparation.fetch.lockfile import Lockfile
from adapter.preparation.fetch.sources import HubRepositories, Listing, RapidOcrRelease, belongs
from adapter.protocol import Part, Publisher, TaskName, TypeName
from tests.support.downloads import WAITS_S, Bench, noise, opened_bench
from tests.support.hub import sha256

RAPIDOCR = Publisher.RAPIDOCR
DETECTION = Part(TaskName.OCR, TypeName.DETECTION, "PP-OCRv5_mobile")
RECOGNITION = Part(TaskName.OCR, TypeName.RECOGNITION, "PP-OCRv5_mobile")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened_bench(tmp_path / "cache") as opened:
        yield opened


@pytest.mark.parametrize("name", KNOWN[TaskName.OCR])
@pytest.mark.parametrize("type_name", [TypeName.DETECTION, TypeName.RECOGNITION])
def test_rapidocr_publishes_both_parts_of_every_known_ocr_model(name: str, type_name: TypeName) -> None:
    listing = RapidOcrRelease("https://host/PP-OCRv5").offer(Part(TaskName.OCR, type_name, name), {})
    assert listing is not None
    assert listing.files[0].path == f"{type_name}/model.onnx"
    assert len(listing.files[0].sha256 or "") == 64


@pytest.mark.parametrize(
    ("type_name", "name", "url"),
    [
        (TypeName.DETECTION, "PP-OCRv5_server", "det/ch_PP-OCRv5_det_server.onnx"),
        (TypeName.DETECTION, "LATIN__PP-OCRv5_mobile", "det/ch_PP-OCRv5_det_mobile.onnx"),
        (TypeName.RECOGNITION, "PP-OCRv5_mobile", "rec/ch_PP-OCRv5_rec_mobile.onnx"),
        (TypeName.RECOGNITION, "LATIN__PP-OCRv5_mobile", "rec/latin_PP-OCRv5_rec_mobile.onnx"),
        (TypeName.RECOGNITION, "CH__PP-OCRv5_server", "rec/ch_PP-OCRv5_rec_server.onnx"),
    ],
)
def test_a_language_decides_the_recogniser_and_a_size_both(type_name: TypeName, name: str, url: str) -> None:
    listing = RapidOcrRelease("https://host").offer(Part(TaskName.OCR, type_name, name), {})
    assert listing is not None
    assert listing.files[0].url == f"https://host/{url}"


@pytest.mark.parametrize(
    "name", ["LATIN__PP-OCRv5_server", "XX__PP-OCRv5_mobile", "PP-OCRv4_mobile", "mobile", "my__own"]
)
def test_rapidocr_offers_nothing_else(name: str) -> None:
    part = Part(TaskName.OCR, TypeName.RECOGNITION, name)
    assert RapidOcrRelease().offer(part, {}) is None


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("config.json", True),
        ("visual/model.onnx", True),
        ("visual/model.onnx_data", True),
        ("visual/onnx__MatMul_1234", True),
        ("visual/model.armnn", False),
        ("visual/rknpu/rk3588/model.rknn", False),
        ("visual/fp16/model.onnx", False),
        ("visual/model_fp16.onnx", False),
        ("textual/model.onnx", False),
        ("visual/../textual/model.onnx", False),
        ("/visual/model.onnx", False),
        ("README.md", False),
    ],
)
def test_a_part_is_its_folder_without_graphs_in_other_formats(path: str, taken: bool) -> None:
    assert belongs(path, Part(TaskName.CLIP, TypeName.VISUAL, "any")) is taken


class SmallRelease:
    """RapidOCR's release with graphs of a test's own."""

    def __init__(self, bench: Bench, content: bytes, published: bytes | None = None) -> None:
        self._real = RapidOcrRelease(f"{bench.hub.url}/release")
        self._bench = bench
        self._content = content
        self._published = content if published is None else published

    def offer(self, part: Part, pinned: Mapping[str, str]) -> Listing | None:
        listing = self._real.offer(part, pinned)
        assert listing is not None
        file = listing.files[0]
        self._bench.hub.elsewhere[file.url.removeprefix(self._bench.hub.url)] = self._published
        return replace(listing, files=(replace(file, sha256=sha256(self._content)),))


def test_pp_ocr_comes_from_the_release_without_the_hubs_token(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    folder = bench.downloads({RAPIDOCR: SmallRelease(bench, noise(5000))}).fetch(RECOGNITION)
    assert (folder / "recognition/model.onnx").read_bytes() == noise(5000)
    assert len(bench.hub.requests) == 1
    assert "authorization" not in bench.hub.requests[0].headers
    assert Lockfile(bench.cache).read().revisions == {sources.RAPIDOCR: sources.RAPIDOCR_TAG}


def test_a_release_of_unknown_size_is_taken_up_where_it_broke(bench: Bench) -> None:
    bench.hub.order("det_mobile.onnx", cut_after=4000)
    bench.downloads({RAPIDOCR: SmallRelease(bench, noise(5000))}).fetch(DETECTION)
    assert [request.headers.get("range") for request in bench.hub.requests] == [None, "bytes=4000-"]


def test_a_release_of_which_all_had_arrived_is_not_sent_again(bench: Bench) -> None:
    staging = bench.cache / "ocr" / DETECTION.name / ".download"
    staging.mkdir(parents=True)
    (staging / sha256(noise(5000))).write_bytes(noise(5000))
    folder = bench.downloads({RAPIDOCR: SmallRelease(bench, noise(5000))}).fetch(DETECTION)
    assert (folder / "detection/model.onnx").read_bytes() == noise(5000)
    assert [request.headers["range"] for request in bench.hub.requests] == ["bytes=5000-"]


def test_a_release_of_another_hash_is_refused(bench: Bench) -> None:
    downloads = bench.downloads({RAPIDOCR: SmallRelease(bench, noise(5000), published=b"another graph")})
    with pytest.raises(
        ModelRefused, match=r"detection/model.onnx of RapidAI/RapidOCR@v3.9.2 arrived corrupt twice"
    ):
        downloads.fetch(DETECTION)


def test_where_the_release_is_out_of_reach_the_hub_is_asked(bench: Bench) -> None:
    bench.hub.publish("immich-app/PP-OCRv5_mobile", {"detection/model.onnx": noise(3000)})
    client = Client(bench.hub.url, waits_s=WAITS_S)
    nowhere = RapidOcrRelease("http://127.0.0.1:9")
    downloads = bench.downloads({RAPIDOCR: nowhere, Publisher.HUB: HubRepositories(client)})
    assert (downloads.fetch(DETECTION) / "detection/model.onnx").read_bytes() == noise(3000)
    with pytest.raises(
        ModelUnavailable, match=r"127.0.0.1 cannot be reached.* has no recognition/model.onnx"
    ):
        downloads.fetch(RECOGNITION)
