"""Cores that a process may use."""

import os
from pathlib import Path

import pytest

from backends import cores

BOUND = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000", BOUND), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", BOUND)],
)
@pytest.mark.parametrize("group", ["/", "/system.slice/immich-triton.service"])
def test_a_share_of_time_counts_as_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, count: int, group: str
) -> None:
    folder = tmp_path / "groups" / group[1:]
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text(quota)
    (tmp_path / "group").write_text(f"1:cpu:/\n0::{group}\n")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "GROUP", tmp_path / "group")
    assert cores.logical() == count
    assert 1 <= cores.physical() <= count


def test_two_threads_of_a_core_count_once_where_it_computes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in os.sched_getaffinity(0):
        (tmp_path / f"cpu{number}/topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}/topology/thread_siblings_list").write_text("0-63\n")
    monkeypatch.setattr(cores, "CPUS", tmp_path)
    assert (cores.logical(), cores.physical()) == (BOUND, 1)
