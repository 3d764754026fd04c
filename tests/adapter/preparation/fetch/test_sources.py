"""Where models come from: the hub's repositories, and RapidOCR's release for PP-OCR."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from adapter.errors import InvalidEntries, ModelAbsent, ModelRefused, ModelUnavailable
from adapter.preparation.catalog import KNOWN, Catalog, is_known
from adapter.preparation.fetch import sources
from adapter.preparation.fetch.hub import Hub as Client
from adapter.preparation.fetch.hub import Listing
from adapter.preparation.fetch.lockfile import Lockfile
from adapter.preparation.fetch.sources import HubRepositories, RapidOcrRelease
from adapter.protocol import MAIN, Part, TaskName, TypeName, canonical
from tests.support.downloads import NAME, WAITS_S, Bench, noise
from tests.support.hub import sha256

DETECTION = Part(TaskName.OCR, TypeName.DETECTION, "PP-OCRv5_mobile")
RECOGNITION = Part(TaskName.OCR, TypeName.RECOGNITION, "PP-OCRv5_mobile")


@pytest.mark.parametrize("name", KNOWN[TaskName.OCR])
@pytest.mark.parametrize("type_name", [TypeName.DETECTION, TypeName.RECOGNITION])
def test_rapidocr_publishes_both_parts_of_every_known_ocr_model(name: str, type_name: TypeName) -> None:
    part = canonical(Part(TaskName.OCR, type_name, name))
    listing = RapidOcrRelease("https://host").offer(part, MAIN, {})
    assert listing is not None
    assert listing.files[0].path == f"{type_name}/model.onnx"
    assert len(listing.files[0].sha256 or "") == 64


@pytest.mark.parametrize(
    ("type_name", "name", "url"),
    [
        (TypeName.DETECTION, "PP-OCRv5_server", "PP-OCRv5/det/ch_PP-OCRv5_det_server.onnx"),
        (TypeName.DETECTION, "LATIN__PP-OCRv5_mobile", "PP-OCRv5/det/ch_PP-OCRv5_det_mobile.onnx"),
        (TypeName.DETECTION, "PP-OCRv6_tiny", "PP-OCRv6/det/PP-OCRv6_det_tiny.onnx"),
        (TypeName.RECOGNITION, "PP-OCRv5_mobile", "PP-OCRv5/rec/ch_PP-OCRv5_rec_mobile.onnx"),
        (TypeName.RECOGNITION, "LATIN__PP-OCRv5_mobile", "PP-OCRv5/rec/latin_PP-OCRv5_rec_mobile.onnx"),
        (TypeName.RECOGNITION, "CH__PP-OCRv5_server", "PP-OCRv5/rec/ch_PP-OCRv5_rec_server.onnx"),
        (TypeName.RECOGNITION, "PP-OCRv6_medium", "PP-OCRv6/rec/PP-OCRv6_rec_medium.onnx"),
    ],
)
def test_a_language_decides_the_recogniser_and_a_size_both(type_name: TypeName, name: str, url: str) -> None:
    listing = RapidOcrRelease("https://host").offer(canonical(Part(TaskName.OCR, type_name, name)), MAIN, {})
    assert listing is not None
    assert listing.files[0].url == f"https://host/{url}"


@pytest.mark.parametrize(
    "name",
    [
        *("LATIN__PP-OCRv5_server", "XX__PP-OCRv5_mobile", "foo__bar__PP-OCRv5_mobile", "PP-OCRv4_mobile"),
        *("LATIN__PP-OCRv6_small", "PP-OCRv6_large", "PP-OCRv6_mobile", "mobile"),
    ],
)
@pytest.mark.parametrize("type_name", [TypeName.DETECTION, TypeName.RECOGNITION])
def test_rapidocr_offers_nothing_else_and_such_a_name_is_refused_with_near_ones(
    name: str, type_name: TypeName, tmp_path: Path
) -> None:
    part = canonical(Part(TaskName.OCR, type_name, name))
    assert RapidOcrRelease().offer(part, MAIN, {}) is None
    assert not is_known(part)
    with pytest.raises(
        InvalidEntries, match=rf"no model '{name}' for ocr {type_name}. Did you mean .*PP-OCRv[56]"
    ):
        Catalog(tmp_path).locate(part)


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("config.json", False),
        ("visual/model.onnx", True),
        ("visual/model.onnx_data", True),
        ("visual/onnx__MatMul_1234", True),
        ("visual/model.safetensors", True),
        ("visual/model.data", True),
        ("visual/model.armnn", False),
        ("visual/model.lock", False),
        ("visual/cpu/x86_64/1/model.onnx", False),
        ("visual/cpu/x86_64/1/model.data", False),
        ("v2/visual/model.onnx", False),
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
    assert Part(TaskName.CLIP, TypeName.VISUAL, "any").owns(path) is taken


class SmallRelease:
    """RapidOCR's release with graphs of a test's own."""

    def __init__(self, bench: Bench, content: bytes, published: bytes | None = None) -> None:
        self._real = RapidOcrRelease(f"{bench.hub.url}/release")
        self._bench = bench
        self._content = content
        self._published = content if published is None else published

    def offer(self, part: Part, revision: str, pinned: Mapping[str, str]) -> Listing | None:
        listing = self._real.offer(part, revision, pinned)
        assert listing is not None
        file = listing.files[0]
        self._bench.hub.elsewhere[file.url.removeprefix(self._bench.hub.url)] = self._published
        return replace(listing, files=(replace(file, sha256=sha256(self._content)),))


def test_pp_ocr_comes_from_the_release_without_the_hubs_token(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    folder = bench.downloads(SmallRelease(bench, noise(5000))).fetch(RECOGNITION)
    assert (folder / "recognition/model.onnx").read_bytes() == noise(5000)
    assert len(bench.hub.requests) == 1
    assert "authorization" not in bench.hub.requests[0].headers
    (locked,) = Lockfile(bench.cache).read().values()
    assert locked.source == f"{sources.RAPIDOCR}@{sources.RAPIDOCR_TAG}"


def test_a_release_of_unknown_size_is_taken_up_where_it_broke(bench: Bench) -> None:
    bench.hub.order("det_mobile.onnx", cut_after=4000)
    bench.downloads(SmallRelease(bench, noise(5000))).fetch(DETECTION)
    assert [request.headers.get("range") for request in bench.hub.requests] == [None, "bytes=4000-"]


def test_a_release_of_which_all_had_arrived_is_not_sent_again(bench: Bench) -> None:
    staging = bench.cache / "ocr" / DETECTION.name / ".download"
    staging.mkdir(parents=True)
    (staging / sha256(noise(5000))).write_bytes(noise(5000))
    folder = bench.downloads(SmallRelease(bench, noise(5000))).fetch(DETECTION)
    assert (folder / "detection/model.onnx").read_bytes() == noise(5000)
    assert [request.headers["range"] for request in bench.hub.requests] == ["bytes=5000-"]


def test_a_release_of_another_hash_is_refused(bench: Bench) -> None:
    downloads = bench.downloads(SmallRelease(bench, noise(5000), published=b"another graph"))
    with pytest.raises(
        ModelRefused, match=r"detection/model.onnx of RapidAI/RapidOCR@v3.9.2 arrived corrupt twice"
    ):
        downloads.fetch(DETECTION)


def test_where_the_release_is_out_of_reach_the_hub_is_asked(bench: Bench) -> None:
    bench.hub.publish("immich-app/PP-OCRv5_mobile", {"detection/model.onnx": noise(3000)})
    client = Client(bench.hub.url, waits_s=WAITS_S)
    nowhere = RapidOcrRelease("http://127.0.0.1:9")
    downloads = bench.downloads(nowhere, HubRepositories(client, "immich-app"))
    assert (downloads.fetch(DETECTION) / "detection/model.onnx").read_bytes() == noise(3000)
    with pytest.raises(
        ModelUnavailable, match=r"127.0.0.1 cannot be reached.* has no recognition/model.onnx"
    ):
        downloads.fetch(RECOGNITION)


def test_what_no_source_has_is_refused_at_once_and_what_one_may_have_is_not(bench: Bench) -> None:
    """Of a model without a repository, of one without the part; and where another source cannot be asked."""
    absent = replace(RECOGNITION, name="PP-OCRv6_tiny")
    for part in (absent, replace(DETECTION, name=NAME)):
        with pytest.raises(ModelAbsent, match="has no "):
            bench.downloads().fetch(part)
    hub = HubRepositories(Client(bench.hub.url, waits_s=WAITS_S), "immich-app")
    with pytest.raises(ModelUnavailable) as passing:
        bench.downloads(RapidOcrRelease("http://127.0.0.1:9"), hub).fetch(absent)
    assert (ModelAbsent.status, passing.value.status) == (422, 503)
