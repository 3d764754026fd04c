"""`scripts/bench`: its loads, its figures, and the command on the real service and on its models in one process."""

import asyncio
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from adapter.compare.load import Figures
from adapter.compare.pictures import page
from adapter.compare.rounds import middle, ratio
from adapter.compare.verdicts import Answers
from adapter.compare.workload import IMMICHS_MODELS, Kind, build
from adapter.protocol import Part, TaskName, TypeName
from bench import table
from bench.__main__ import app
from bench.processes import Usage, Watch, name_of
from bench.run import IN_PROCESS, SERVED, Report, Run, parts_of, preload_variable
from bench.scenarios import Mix, Scenario, choose, kinds_of
from demo.models import ocr
from demo.show.faces import draw_crowd

STUB = (
    "/run/triton_python_backend_stub /repository/{0}/1/model.onnx immich_triton_7_a-b 1048576 1048576 30405"
    " /run/backends/python 336 {0}_0_0 /run/backends/onnxruntime"
)
LOAD = Scenario("pictures at 4", {Kind.PICTURES: 4})


def seen(per_second: float, p50_ms: float = 10.0, failed: int = 0) -> Figures:
    return Figures(5, failed, per_second, p50_ms, 2 * p50_ms, ("status 503",) if failed else ())


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    ours, theirs = [[seen(rate) for rate in rates] for rates in ((6.0, 4.0, 2.0), (12.0, 5.0, 2.0))]
    assert ratio(ours, theirs) == 0.8
    assert ratio(ours, [seen(0.0)] * 3) is None
    assert (middle(ours).per_second, middle(ours).answered) == (4.0, 15)


def test_the_table_says_what_matters_in_eighty_columns() -> None:
    usage = Usage({"adapter": 100.0, "demo-clip.visual.encoder": 300.0}, 420.0, cpu_s=0.5)
    report = Report(
        [LOAD],
        [
            Run(SERVED, LOAD.name, {Kind.PICTURES: seen(9.0, failed=1)}, usage),
            Run(IN_PROCESS, LOAD.name, {Kind.PICTURES: seen(10.0)}, None),
        ],
        {IN_PROCESS: [Answers(Kind.PICTURES, 8, 1, faults=["pictures 3: cosine 0.990000"])]},
        {"adapter": 90.0},
    )
    written = io.StringIO()
    Console(file=written, width=80).print(table.render(report))
    words = " ".join(written.getvalue().split())
    assert "pictures at 4 served 9.00 10.0 20.0 100 in-process 10.0 0.90 10.0 20.0" in words
    assert "adapter 90.0 100" in words
    assert "all, at any time 90.0 420" in words
    assert "! served, pictures at 4, pictures: 1 failed: status 503" in words
    assert "pictures: 7 of 8 answers are as of in-process pictures 3: cosine 0.99" in words
    json.dumps(report.as_json())
    assert replace(report, runs=[]).of(SERVED, LOAD) == []


def test_every_mix_is_run_by_default_and_concurrency_is_of_those_of_one_kind() -> None:
    chosen = choose((), (1, 16))
    assert len({scenario.name for scenario in chosen}) == len(chosen) == 9
    assert kinds_of(chosen) == list(Kind)
    chosen = choose([Mix.PAGES, Mix.SEARCH, Mix.PAGES], [2, 3])
    assert [scenario.name for scenario in chosen] == ["pages at 2", "pages at 3", "search while indexing"]
    assert kinds_of(chosen[:2]) == [Kind.PAGES]


def test_each_part_that_is_needed_is_preloaded_by_immichs_own_variable() -> None:
    parts = parts_of(build([Kind.GROUPS], IMMICHS_MODELS, {Kind.GROUPS: {"one": b""}}))
    kinds = TypeName.DETECTION, TypeName.RECOGNITION
    assert parts == [Part(TaskName.FACES, kind, "buffalo_l") for kind in kinds]
    assert preload_variable(parts[0]) == "MACHINE_LEARNING_PRELOAD__FACIAL_RECOGNITION__DETECTION"


@pytest.mark.parametrize(
    ("program", "command_line", "is_root", "name"),
    [
        ("python", "/venv/bin/python -m adapter serve", True, "adapter"),
        ("immich-triton", "immich-triton serve --port 3003", True, "adapter"),
        ("gunicorn", "gunicorn immich_ml", True, "gunicorn"),
        ("tritonserver", "/venv/tritonserver --http-port=8000", False, "tritonserver"),
        (
            "triton_python_b",
            STUB.format("ViT-B-32__openai.visual.graph"),
            False,
            "ViT-B-32__openai.visual.graph",
        ),
        ("triton_python_b", STUB.format("a_1_2.detection"), False, "a_1_2.detection"),
    ],
)
def test_a_process_is_named_by_what_it_does(
    program: str, command_line: str, is_root: bool, name: str
) -> None:
    assert name_of(program, command_line.split(), is_root=is_root) == name


def test_a_watched_process_took_memory_and_processor_time() -> None:
    async def watch() -> Usage | None:
        watched = Watch([psutil.Process(os.getpid())])
        await watched.open()
        await asyncio.sleep(0)
        sum(number * number for number in range(10**6))
        await watched.close()
        return watched.usage

    usage = asyncio.run(watch())
    assert usage
    assert usage.cpu_s > 0
    assert 0 < sum(usage.memory_mb.values()) <= usage.peak_mb


def test_a_wrong_concurrency_is_named() -> None:
    result = CliRunner().invoke(app, ["--concurrency", "1,none"])
    assert result.exit_code == 2
    assert "looks like 1,16" in result.output


@pytest.mark.triton
def test_the_service_and_one_process_give_the_same_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path / "state"))
    pictures = tmp_path / "pictures"  # two, so that it does not take long: people, and a page of two lines
    pictures.mkdir()
    Image.fromarray(draw_crowd()).save(pictures / "people.png")
    page(["Harbour Office", "14 March"], (480, 240), 38).save(pictures / "page.png")
    mixes = ["pictures", "texts", "groups", *(["pages"] if ocr.is_installed() else [])]
    options = [argument for mix in mixes for argument in ("--mix", mix)]
    options += ["--clip", "demo-clip", "--faces", "demo-face", "--pictures", str(pictures)]
    options += ["--concurrency", "2", "--duration", "0.2", "--rounds", "1", "--baseline", "in-process"]
    result = CliRunner().invoke(app, [*options, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert [one["kind"] for one in found["answers"]["in-process"]] == mixes
    assert all(one["differing"] == 0 < one["compared"] for one in found["answers"]["in-process"])
    assert [run["target"] for run in found["runs"]] == ["served", "in-process"] * len(mixes)
    for run in found["runs"]:
        for figures in run["figures"].values():
            assert (figures["answered"] > 0, figures["failed"], figures["faults"]) == (True, 0, [])
        if run["target"] == "served":
            assert run["usage"]["peak_mb"] > 0 < run["usage"]["cpu_s"]
    assert {"adapter", "tritonserver", "demo-clip.visual.encoder"} <= set(found["at_rest_mb"])
