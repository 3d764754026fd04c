"""`immich-triton compare`, on two small services that give made-up answers."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from typer.testing import CliRunner, Result

from adapter import cli
from adapter.compare.differences import Difference
from adapter.compare.table import number
from adapter.compare.verdicts import join, judge
from adapter.compare.workload import Kind
from adapter.errors import SetupError

Compare = Callable[..., Result]
Answer = Callable[[dict[str, Any], str], Any]
SIZE = {"imageHeight": 100, "imageWidth": 200}
BOX = {"x1": 10.0, "y1": 10.0, "x2": 60.0, "y2": 70.0}


def alike(entries: dict[str, Any], text: str) -> Any:
    """An answer to anything."""
    vector, quad = json.dumps([1.0, len(text), 0.5]), [0.1, 0.1, 0.5, 0.1, 0.5, 0.3, 0.1, 0.3]
    answers = {
        "clip": vector,
        "facial-recognition": [{"boundingBox": BOX, "embedding": vector, "score": 0.9}],
        "ocr": {"text": ["a line"], "box": quad, "boxScore": [1], "textScore": [1]},
    }
    return {task: answers[task] for task in entries} | ({} if text else SIZE)


def off(entries: dict[str, Any], text: str) -> Any:
    """The same, but for one text."""
    answer = alike(entries, text)
    return answer | {"clip": json.dumps([1.0, 9.0, -0.5])} if text == "sunset" else answer


def refusing(entries: dict[str, Any], text: str) -> Any:
    if "ocr" in entries:
        raise web.HTTPUnprocessableEntity(text='{"detail": "no such model"}')
    return alike(entries, text)


@contextmanager
def service(answer: Answer) -> Iterator[str]:
    """The URL of a service with a secret path, in a thread."""

    async def predict(request: web.Request) -> web.Response:
        form = await request.post()
        return web.json_response(answer(json.loads(str(form["entries"])), str(form.get("text", ""))))

    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="pong")

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.add_routes([web.post("/secret/predict", predict), web.get("/secret/ping", ping)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"http://127.0.0.1:{port}/secret/"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Runs the command with one small picture."""
    Image.new("L", (200, 100)).save(tmp_path / "small.png")

    def run(ours: Answer, theirs: Answer, *options: str) -> Result:
        with service(ours) as here, service(theirs) as there:
            short = ("--duration", "0.1", "--pictures", str(tmp_path))
            return CliRunner().invoke(cli.app, ["compare", there, "--ours", here, *short, *options])

    return run


def test_answers_that_are_the_same_keep_every_index_valid(compare: Compare) -> None:
    done = compare(alike, alike)
    assert done.exit_code == 0, done.output
    for words in (
        "Smart Search: the lowest cosine is 1.000000",
        "Face Detection",
        "OCR: no line of 1 differs",
    ):
        assert words in done.stdout
    assert done.stdout.count("the index stays valid") == 3
    for load in (f"{kind} at {times}" for kind in Kind for times in (1, 4, 16)):
        rows = rf" {load} +ours( +[\d.,]+){{5}} *\n +theirs( +[\d.,]+){{4}} *\n"
        assert re.search(rows, done.stdout), done.stdout
    assert "secret" not in done.output
    busiest = re.search(r"pictures at 16 +theirs( +[\d.]+){2} +\w+", done.stdout)
    assert (bool(busiest), "GPU" in done.stdout) == (True, False), done.stdout


def test_one_answer_that_differs_is_found_and_named(compare: Compare) -> None:
    done = compare(off, alike, "--task", "clip", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    pictures, texts = found["answers"]
    assert (pictures["differing"], texts["differing"], texts["compared"]) == (0, 1, 12)
    assert texts["faults"][0].startswith("text 'sunset': cosine 0.9")
    assert [verdict["valid"] for verdict in found["verdicts"]] == [False]
    assert [(one["kind"], one["at_a_time"]) for one in found["speeds"][:3]] == [
        ("pictures", n) for n in (1, 4, 16)
    ]
    assert all(one[whose]["failed"] == 0 for one in found["speeds"] for whose in ("ours", "theirs"))
    assert all(one["ratio"] > 0 and one["ours"]["p50_ms"] <= one["ours"]["p95_ms"] for one in found["speeds"])


def test_a_model_that_one_refuses_is_told_in_one_sentence(compare: Compare) -> None:
    done = compare(alike, refusing, "--task", "ocr")
    assert isinstance(done.exception, SetupError)
    assert "answers 422 to pages small.png (PP-OCRv5_mobile)" in str(done.exception)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://", "'http://' is no URL of a service; one looks like http://nas:3003"),
        ("http://[", "is no URL"),
        ("ftp://nas", "is no URL"),
        ("127.0.0.1:9", "No answer from http://127.0.0.1:9: Connection refused."),
        ("nowhere.invalid", "No answer from http://nowhere.invalid: "),
    ],
)
def test_a_wrong_url_is_told_in_one_sentence(url: str, words: str) -> None:
    done = CliRunner().invoke(cli.app, ["compare", url, "--ours", url])
    assert isinstance(done.exception, SetupError)
    assert words in str(done.exception)


def test_something_else_at_the_url_is_told() -> None:
    with service(alike) as url:
        done = CliRunner().invoke(cli.app, ["predict", "--text", "a", "--url", url.removesuffix("secret/")])
    assert "no machine-learning service: its /ping answers 404" in str(done.exception)


@pytest.mark.parametrize(
    ("cosines", "faults", "valid", "words"),
    [
        ([1.0, 0.9999], [], True, "the index stays valid."),
        ([1.0, 0.9998], [], False, "can still be searched"),
        ([1.0, 0.9899], [], False, "rebuild the index"),
        ([1.0], ["3 faces for 4"], False, "but 1 of 2 answers differ otherwise"),
        ([], [], True, "no face in these pictures"),
    ],
)
def test_the_verdict_is_of_the_worst_vector(
    cosines: list[float], faults: list[str], valid: bool, words: str
) -> None:
    found = {"one": Difference(cosines, faults=faults), "other": Difference()}
    (verdict,) = judge([join(Kind.GROUPS, found)])
    assert (verdict.valid, words in verdict.words) == (valid, True), verdict


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "0.00"), (0.968, "0.97"), (9.996, "10.0"), (1390.4, "1,390")]
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text
