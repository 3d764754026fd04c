"""Fetching into the cache folder: the layout, the pinned revision, and many who ask at once."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import close_session, hf_hub_download, snapshot_download

from adapter.errors import ModelUnavailable
from adapter.preparation.fetch import lockfile
from adapter.protocol import MAIN, V2
from tests.support import families
from tests.support.downloads import (
    GRAPH,
    NAME,
    REPOSITORY,
    TEXTUAL,
    VISUAL,
    VISUAL_FILES,
    Bench,
    clip_files,
)
from tests.support.hub import sha256


def test_the_local_hub_is_hub_enough_for_huggingface_hub_itself(bench: Bench, tmp_path: Path) -> None:
    one = hf_hub_download(REPOSITORY, GRAPH, endpoint=bench.hub.url, cache_dir=tmp_path / "hf")
    assert Path(one).read_bytes() == clip_files()[GRAPH]
    snapshot_download(
        REPOSITORY, endpoint=bench.hub.url, cache_dir=tmp_path / "hf", local_dir=tmp_path / "all"
    )
    for path, content in clip_files().items():
        assert (tmp_path / "all" / path).read_bytes() == content


def test_the_asked_half_and_nothing_else_is_fetched_into_immichs_layout(bench: Bench) -> None:
    assert bench.downloads().fetch(VISUAL) == bench.folder
    assert bench.visible() == set(VISUAL_FILES)
    assert all((bench.folder / path).read_bytes() == clip_files()[path] for path in VISUAL_FILES)
    assert not (bench.folder / ".download").exists()


def test_what_is_there_is_used_as_it_is_and_nobody_is_asked(bench: Bench) -> None:
    for path in ("visual/model.onnx", "visual/preprocess_cfg.json"):
        (bench.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (bench.folder / path).write_bytes(b"of an older commit")
    assert bench.downloads().fetch(VISUAL) == bench.folder
    assert bench.hub.requests == []
    assert [path.name for path in bench.cache.iterdir()] == ["clip"]


def test_every_download_that_ends_is_told_and_a_model_that_is_there_is_none(bench: Bench) -> None:
    bench.downloads().fetch(VISUAL)
    bench.downloads().fetch(VISUAL)
    bench.hub.withdraw(REPOSITORY)
    with pytest.raises(ModelUnavailable):
        bench.downloads().fetch(TEXTUAL)
    assert bench.ended == ["ok", "failed"]


def test_the_second_half_comes_from_the_first_ones_commit(bench: Bench) -> None:
    bench.downloads().fetch(VISUAL)
    pinned = bench.hub.commit(REPOSITORY, "main")
    moved = bench.hub.publish(REPOSITORY, clip_files(seed=100))
    bench.downloads().fetch(TEXTUAL)
    assert pinned
    assert moved != pinned[0]
    assert (bench.folder / "textual/model.onnx").read_bytes() == clip_files()["textual/model.onnx"]


def test_the_lock_file_holds_commit_size_and_hash_of_every_file(bench: Bench) -> None:
    bench.downloads().fetch(VISUAL)
    lock = json.loads((bench.cache / lockfile.NAME).read_text())
    commit = bench.hub.commit(REPOSITORY, "main")
    assert commit is not None
    assert lock["files"] == {
        f"clip/{NAME}/{path}": {
            "size": len(clip_files()[path]),
            "sha256": sha256(clip_files()[path]),
            "source": f"{REPOSITORY}@{commit[0]}",
        }
        for path in VISUAL_FILES
    }


def test_a_pinned_commit_that_is_gone_is_told_and_never_replaced_by_another(bench: Bench) -> None:
    bench.downloads().fetch(VISUAL)
    bench.hub.withdraw(REPOSITORY)
    bench.hub.publish(REPOSITORY, clip_files(seed=5))
    with pytest.raises(ModelUnavailable, match=r"has no revision .* models remove"):
        bench.downloads().fetch(TEXTUAL)


class TestRevisions:
    """`main` and `v2` of one model, each from its branch into its folder."""

    @pytest.fixture
    def commit(self, bench: Bench) -> str:
        return bench.hub.publish(REPOSITORY, clip_files(seed=7), "v2")

    def test_v2_is_fetched_from_its_branch_into_its_folder_beside_main(
        self, bench: Bench, commit: str
    ) -> None:
        assert bench.downloads().fetch(VISUAL) == bench.folder
        assert bench.downloads().fetch(VISUAL, V2) == bench.folder / "v2"
        assert bench.visible() == {*VISUAL_FILES, *(f"v2/{path}" for path in VISUAL_FILES)}
        assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]
        assert (bench.folder / "v2" / GRAPH).read_bytes() == clip_files(seed=7)[GRAPH]
        assert (
            lockfile.Lockfile(bench.cache).read()[f"clip/{NAME}/v2/{GRAPH}"].source
            == f"{REPOSITORY}@{commit}"
        )

    def test_the_second_half_of_each_comes_from_the_commit_of_its_first(
        self, bench: Bench, commit: str
    ) -> None:
        for revision in (MAIN, V2):
            bench.downloads().fetch(TEXTUAL, revision)
        for number, revision in enumerate((MAIN, V2)):
            bench.hub.publish(REPOSITORY, clip_files(seed=100 + number), revision)
            bench.downloads().fetch(VISUAL, revision)
        assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]
        assert (bench.folder / "v2" / GRAPH).read_bytes() == clip_files(seed=7)[GRAPH]

    def test_a_revision_that_does_not_exist_is_told(self, bench: Bench) -> None:
        with pytest.raises(ModelUnavailable, match=r"has no revision 'v3' of this model"):
            bench.downloads().fetch(VISUAL, "v3")

    def test_what_immichs_container_left_in_v2_is_used_and_untouched(self, bench: Bench) -> None:
        left = {**clip_files(), "visual/model.lock": b"", "visual/cpu/x86_64/1/model.onnx": b"prepared"}
        families.write(left, bench.folder / "v2")
        for part in (VISUAL, TEXTUAL):
            assert bench.downloads().fetch(part, V2) == bench.folder / "v2"
        assert bench.hub.requests == []
        assert bench.visible() == {f"v2/{path}" for path in left}

    def test_of_v2_copied_in_part_nothing_is_served_before_the_rest_is_fetched(
        self, bench: Bench, commit: str
    ) -> None:
        families.write({GRAPH: clip_files(seed=7)[GRAPH]}, bench.folder / "v2")
        assert bench.downloads().find(VISUAL, V2) is None
        bench.downloads().fetch(VISUAL, V2)
        assert {path for path in bench.visible() if GRAPH in path} == {f"v2/{GRAPH}", f"v2/{GRAPH}_data"}
        assert bench.sent_ranges() == [], "the graph was there"


def test_ten_threads_that_ask_at_once_cause_one_download(bench: Bench) -> None:
    downloads = bench.downloads()
    with ThreadPoolExecutor(10) as threads:
        assert set(threads.map(downloads.fetch, [VISUAL] * 10)) == {bench.folder}
    assert len(bench.hub.asked("resolve")) == len(VISUAL_FILES)


def test_two_halves_at_once_are_both_fetched(bench: Bench) -> None:
    downloads = bench.downloads()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(downloads.fetch, [VISUAL, TEXTUAL]))
    assert bench.visible() == {path for path in clip_files() if not path.endswith(("md", "nn"))}
    assert len(bench.hub.asked("config.json")) == 2  # the model's, and the tokenizer's
    assert downloads.find(VISUAL) == downloads.find(TEXTUAL) == bench.folder


def test_coroutines_get_the_folder_too(bench: Bench) -> None:
    downloads = bench.downloads()

    async def ask() -> list[Path]:
        return await asyncio.gather(*(downloads.obtain(VISUAL) for _ in range(3)))

    assert set(asyncio.run(ask())) == {bench.folder}
    assert len(bench.hub.asked("resolve")) == len(VISUAL_FILES)


def test_closing_ends_a_download_that_is_shown_under_way_and_keeps_what_arrived(bench: Bench) -> None:
    fault = bench.hub.order(GRAPH, pause_after=100_000)
    downloads = bench.downloads()
    with ThreadPoolExecutor(1) as threads:
        fetching = threads.submit(downloads.fetch, VISUAL)
        assert fault.reached.wait(10)
        progress = downloads.under_way[VISUAL]
        downloads.close()
        fault.proceed.set()
        with pytest.raises(ModelUnavailable, match="is being stopped"):
            fetching.result(10)
    assert (
        0 < progress.arrived <= (progress.total or 0) == sum(len(clip_files()[path]) for path in VISUAL_FILES)
    )
    assert downloads.under_way == {}
    assert bench.visible() == set()
    bench.downloads().fetch(VISUAL)
    assert bench.sent_ranges()[-1] is not None


def test_two_processes_cause_one_download(bench: Bench) -> None:
    processes = [bench.spawn() for _ in range(2)]
    assert [process.communicate(timeout=20)[0].strip() for process in processes] == [str(bench.folder)] * 2
    assert len(bench.hub.asked("resolve")) == len(VISUAL_FILES)


def test_a_process_killed_in_the_middle_leaves_nothing_visible_and_the_next_goes_on(bench: Bench) -> None:
    fault = bench.hub.order(GRAPH, pause_after=100_000)
    process = bench.spawn()
    assert fault.reached.wait(20)
    process.kill()
    process.communicate()
    fault.proceed.set()
    assert bench.visible() == set()
    bench.downloads().fetch(VISUAL)
    assert bench.visible() == set(VISUAL_FILES)


def test_offline_mode_says_how_to_fill_the_cache_and_asks_nobody(bench: Bench) -> None:
    process = bench.spawn(HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in (errors := process.communicate(timeout=20)[1])
    assert "`immich-triton models pull`" in errors
    assert bench.hub.requests == []


def test_sessions_can_be_closed_between(bench: Bench) -> None:
    downloads = bench.downloads()
    downloads.fetch(VISUAL)
    close_session()
    downloads.fetch(TEXTUAL)
