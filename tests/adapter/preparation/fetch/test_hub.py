"""A hub that breaks off, refuses, stalls and is not one; `huggingface_hub` itself does the talking."""

import pytest

from adapter.errors import ModelUnavailable
from adapter.preparation.fetch.download import Downloads
from adapter.preparation.fetch.hub import Hub as Client
from adapter.preparation.fetch.sources import HubRepositories
from tests.support.downloads import (
    GRAPH,
    NAME,
    REPOSITORY,
    VISUAL,
    VISUAL_FILES,
    Bench,
    clip_files,
)


def test_a_cut_connection_is_taken_up_where_it_broke(bench: Bench) -> None:
    bench.hub.order(GRAPH, cut_after=70_000)
    bench.downloads().fetch(VISUAL)
    assert bench.sent_ranges() == [None, "bytes=70000-"]
    assert {request.headers["accept-encoding"] for request in bench.hub.asked("cdn")} == {"identity"}
    assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]


def test_a_connection_that_is_cut_again_and_again_gets_there_as_long_as_something_arrives(
    bench: Bench,
) -> None:
    bench.hub.order(GRAPH, cut_after=30_000, times=-1)
    bench.downloads().fetch(VISUAL)
    assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]


def test_a_server_without_ranges_costs_time_but_not_the_file(bench: Bench) -> None:
    bench.hub.order(GRAPH, cut_after=70_000)
    bench.hub.order(GRAPH, no_ranges=True)
    bench.downloads().fetch(VISUAL)
    assert bench.sent_ranges() == [None, "bytes=70000-"]
    assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]


@pytest.mark.parametrize(
    ("path", "status", "reason", "passing"),
    [
        ("api/models", 404, "does not exist", False),
        ("api/models", 403, "refuses access .* HF_TOKEN", False),
        ("api/models", 500, "answers 500. Try later", True),
        ("api/models", 429, "asked too often .* HF_TOKEN", True),
        ("visual/model.onnx", 404, "visual/model.onnx does not exist", False),
        ("visual/model.onnx", 500, "answers 500. Try later", True),
        ("visual/model.onnx", 429, "asked too often", True),
    ],
)
def test_a_refusal_is_told_and_leaves_the_cache_usable(
    bench: Bench, path: str, status: int, reason: str, passing: bool
) -> None:
    fault = bench.hub.order(path, status=status, times=-1)
    with pytest.raises(ModelUnavailable, match=f"{NAME} .* is not in the cache folder .*{reason}") as caught:
        bench.downloads().fetch(VISUAL)
    assert caught.value.passing is passing
    assert bench.visible() == set()
    fault.times = 0
    bench.downloads().fetch(VISUAL)
    assert bench.visible() == set(VISUAL_FILES)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_trouble_that_passes_is_waited_for(bench: Bench, status: int) -> None:
    bench.hub.order("api/models", status=status)
    bench.hub.order(GRAPH, status=status)
    bench.downloads().fetch(VISUAL)
    assert bench.visible() == set(VISUAL_FILES)


def test_a_short_retry_after_is_honoured_and_a_long_one_ends_the_fetch(bench: Bench) -> None:
    bench.hub.order("api/models", status=429, headers={"Retry-After": "0"})
    bench.hub.order(GRAPH, status=429, headers={"Retry-After": "3600"})
    downloads = bench.downloads()
    with pytest.raises(ModelUnavailable, match="asks to be left alone for 3600 s"):
        downloads.fetch(VISUAL)
    asked = len(bench.hub.requests)
    with pytest.raises(ModelUnavailable, match="asks to be left alone"):
        downloads.fetch(VISUAL)
    assert len(bench.hub.requests) == asked


def test_an_unknown_repository_is_told(bench: Bench) -> None:
    bench.hub.withdraw(REPOSITORY)
    with pytest.raises(ModelUnavailable, match=rf"has no such repository.*{REPOSITORY}"):
        bench.downloads().fetch(VISUAL)


def test_a_hub_out_of_reach_is_told(bench: Bench) -> None:
    client = Client("http://127.0.0.1:9", waits_s=())
    with pytest.raises(ModelUnavailable, match=r"127.0.0.1 cannot be reached .* HF_ENDPOINT") as caught:
        Downloads(bench.cache, client, [HubRepositories(client, "immich-app")]).fetch(VISUAL)
    assert caught.value.passing


@pytest.mark.parametrize(
    "body", [b"<html>log in to the guest network</html>", b"[]", b"{}", b'{"id": 1, "sha": 1}']
)
def test_an_answer_that_is_not_a_hubs_is_told(bench: Bench, body: bytes) -> None:
    bench.hub.order("api/models", status=200, body=body)
    with pytest.raises(ModelUnavailable, match=r"does not answer like a hub|lists no files") as caught:
        bench.downloads().fetch(VISUAL)
    assert caught.value.passing


def test_hashes_that_a_mirror_leaves_out_of_the_listing_are_asked_for(bench: Bench) -> None:
    bench.hub.without_hashes = True
    bench.hub.order(GRAPH, corrupt=True)
    bench.hub.order("preprocess_cfg.json", corrupt=True)
    bench.downloads().fetch(VISUAL)
    assert all((bench.folder / path).read_bytes() == clip_files()[path] for path in VISUAL_FILES)


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(bench: Bench) -> None:
    process = bench.spawn(HF_TOKEN="hf_secret")
    assert process.communicate(timeout=20)[0].strip() == str(bench.folder)
    for request in bench.hub.requests:
        expected = None if request.path.startswith("/cdn") else "Bearer hf_secret"
        assert request.headers.get("authorization") == expected
