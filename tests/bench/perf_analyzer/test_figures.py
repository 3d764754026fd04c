"""What is read from perf_analyzer's files. The samples are lines that it wrote, with a second concurrency added."""

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import astuple
from pathlib import Path

import pytest
from rich.console import Console

from bench.perf_analyzer import plot
from bench.perf_analyzer.figures import read, table, write

COLUMNS = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv"
)
WHOLE = f"""{COLUMNS},p50 latency,p90 latency,p95 latency,p99 latency
2,1588.67,90,516,7,27,506,96,0,1118,1494,1767,4873
1,807.753,57,450,0,33,594,91,0,842,1416,2238,5013
"""
ENCODER = f"{COLUMNS}\n2,1588.67,0,1,120,16,301,47,0\n1,807.753,0,1,86,16,301,47,0\n"
TOKENIZE = f"{COLUMNS}\n2,1588.67,0,1,80,17,292,43,0\n1,807.753,0,1,59,17,292,43,0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figures.csv").write_text(WHOLE)
    return tmp_path


def test_times_become_ms_and_concurrencies_rise(folder: Path) -> None:
    first, second = read(folder, "m")
    assert astuple(first) == pytest.approx(("m", 1, 807.753, 0.842, 1.416, 2.238, 5.013, 0.0, 0.718))
    assert (second.concurrency, second.queue_ms) == (2, 0.007)


def test_the_queue_of_an_ensemble_is_that_of_its_steps(folder: Path) -> None:
    (folder / "m.encoder_v1.figures.csv").write_text(ENCODER)
    (folder / "m.tokenize_v1.figures.csv").write_text(TOKENIZE)
    assert [one.queue_ms for one in read(folder, "m")] == [0.145, 0.2]


def test_a_run_that_ended_before_its_first_measurement_has_no_figures(tmp_path: Path) -> None:
    assert read(tmp_path, "m") == []


def test_models_are_joined_in_one_file_one_table_and_one_plot(folder: Path) -> None:
    found = [*read(folder, "clip.textual"), *read(folder, "clip.visual")]
    write(found, folder / "all.csv")
    rows = list(csv.DictReader(io.StringIO((folder / "all.csv").read_text())))
    assert [(row["model"], row["concurrency"]) for row in rows] == [
        *(("clip.textual", "1"), ("clip.textual", "2"), ("clip.visual", "1"), ("clip.visual", "2"))
    ]
    assert rows[0]["p95_ms"] == "2.238"
    printed = io.StringIO()
    Console(file=printed, width=80).print(table(found))
    assert [word for word in printed.getvalue().split() if word.startswith("clip")] == [
        "clip.textual",
        "clip.visual",
    ]
    drawn = plot.draw(found)
    ET.fromstring(drawn)
    assert all(
        word in drawn for word in ("clip.textual", "clip.visual", "inferences a second", "p95 latency, ms")
    )
