"""The outside of the service, with an engine that answers at once."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from adapter.admission import SMALL_BODY_BYTES
from adapter.app import ANSWERS_A_CONNECTION, create_app
from adapter.errors import BadInput, ModelUnavailable
from adapter.faults import Faults
from adapter.forms import SILENCE_S
from adapter.protocol import Part, TaskName, TypeName
from adapter.requests import BUG
from adapter.service import Service
from tests.support.service import FakeEngine, FakeHealth, fake_service

PART = Part(TaskName.CLIP, TypeName.VISUAL, "m")
VISUAL = json.dumps({"clip": {"visual": {"modelName": "m"}}})
TEXTUAL = json.dumps({"clip": {"textual": {"modelName": "m", "options": {"language": "de"}}}})
IMAGE = {"image": ("blob", b"picture", "application/octet-stream")}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def health() -> FakeHealth:
    return FakeHealth()


@pytest.fixture
def client(engine: FakeEngine, health: FakeHealth) -> Iterator[TestClient]:
    with TestClient(create_app(fake_service(engine, health)), raise_server_exceptions=False) as client:
        yield client


def last_line(caplog: pytest.LogCaptureFixture) -> str:
    """The request's, of the log."""
    return [record.getMessage() for record in caplog.records if record.name == "adapter.requests"][-1]


def test_ping_tells_why_predictions_cannot_be_served(client: TestClient, health: FakeHealth) -> None:
    health.fault = "models are being loaded"
    answer = client.get("/ping")
    assert (answer.status_code, answer.json()) == (503, {"detail": "models are being loaded"})


def test_a_picture_is_answered_with_its_vector_as_a_string_and_its_size(client: TestClient) -> None:
    answer = client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    assert answer.json() == {"clip": "[0.25,-1.5]", "imageHeight": 300, "imageWidth": 451}


def test_a_text_goes_to_the_text_model_with_its_language(client: TestClient, engine: FakeEngine) -> None:
    answer = client.post("/predict", data={"entries": TEXTUAL, "text": "ein Hund"})
    assert answer.json() == {"clip": "[0.25,-1.5]"}
    part, inputs = engine.asked[0]
    assert str(part) == "m (clip textual)"
    assert (inputs["text"][0, 0], inputs["language"][0, 0]) == (b"ein Hund", b"de")


def test_now_and_then_an_answer_closes_its_connection_so_that_a_client_meets_other_hosts(
    client: TestClient,
) -> None:
    ask = partial(client.post, "/predict", data={"entries": TEXTUAL, "text": "dog"})
    closed = ["close" in ask().headers.get("connection", "") for _ in range(2 * ANSWERS_A_CONNECTION)]
    assert closed == 2 * [*(ANSWERS_A_CONNECTION - 1) * [False], True]


def test_a_large_picture_stays_in_memory(
    client: TestClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_files(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr("tempfile.TemporaryFile", no_files)
    large = bytes(5 * 2**20)
    answer = client.post("/predict", data={"entries": VISUAL}, files={"image": ("blob", large)})
    assert answer.status_code == 200
    assert engine.asked[0][1]["image"][0, 0] == large


@pytest.mark.parametrize(
    ("form", "files", "status", "detail"),
    [
        ({}, IMAGE, 422, "Field required"),
        ({"entries": ""}, IMAGE, 422, "Field required"),
        ({"entries": "not json"}, IMAGE, 422, "Invalid request format."),
        ({"entries": VISUAL}, None, 400, "Either image or text must be provided"),
        ({"entries": VISUAL, "text": ""}, None, 400, "Either image or text must be provided"),
        ({"entries": VISUAL, "text": "dog"}, None, 400, "a text was sent"),
        ({"entries": TEXTUAL}, IMAGE, 400, "an image was sent"),
        ({"entries": TEXTUAL, "text": "x" * 2**21}, None, 400, "maximum size"),
        ({"entries": "{}"}, IMAGE, 422, "No model task requested."),
    ],
)
def test_bad_requests_are_refused_with_the_fault(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    form: dict[str, str],
    files: Any,
    status: int,
    detail: str,
) -> None:
    parts = files or {"extra": ("blob", b"")}  # makes it multipart
    answer = client.post("/predict", data=form, files=parts)
    assert answer.status_code == status
    assert detail in json.dumps(answer.json()["detail"])
    assert detail in last_line(caplog)


def test_a_picture_sent_as_a_plain_field_is_refused(client: TestClient) -> None:
    answer = client.post("/predict", data={"entries": VISUAL, "image": "x"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "image"]


@pytest.mark.parametrize(
    ("fault", "status"), [(BadInput("truncated"), 400), (ModelUnavailable("not in the cache"), 503)]
)
def test_an_error_of_the_engine_is_answered_with_its_status_and_reason(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture, fault: Exception, status: int
) -> None:
    engine.fault = fault
    answer = client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    assert (answer.status_code, answer.json()) == (status, {"detail": str(fault)})
    assert last_line(caplog).endswith(f" ms, {status}: {fault}")
    assert "Traceback" not in caplog.text


def test_a_bug_is_answered_without_its_text_and_has_one_traceback_in_the_line_of_its_request(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fault = RuntimeError("secret")
    answer = client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    assert (answer.status_code, answer.json()) == (500, {"detail": BUG})
    assert last_line(caplog).endswith(f" ms, 500: {BUG}")
    assert caplog.text.count("Traceback") == 1
    assert "RuntimeError: secret" in caplog.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/other", 404), ("GET", "/predict", 405)])
def test_what_is_not_here_is_told_in_the_log_too(
    client: TestClient, caplog: pytest.LogCaptureFixture, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert last_line(caplog).endswith(f" ms, {status}: {answer.json()['detail']}")


def test_the_last_faults_are_remembered_by_kind(client: TestClient, engine: FakeEngine) -> None:
    engine.fault = ModelUnavailable("5 MiB are free")
    client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    engine.fault = ModelUnavailable("4 MiB are free")
    client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    client.post("/predict", data={"entries": "{}"}, files=IMAGE)
    service = cast("Service", cast("FastAPI", client.app).state.service)
    seen = [
        (fault.status, [str(part) for part in fault.parts], fault.reason, fault.count)
        for fault in service.faults.latest()
    ]
    assert seen == [
        (422, [], "No model task requested.", 1),
        (503, ["m (clip visual)"], "4 MiB are free", 2),
    ]


def test_no_more_than_the_last_faults_are_kept() -> None:
    faults = Faults()
    for letter in "abcdefghijklmnopqrstuvwxyz":
        faults.add((), 400, letter)
    assert [fault.reason for fault in faults.latest()] == [*reversed("ghijklmnopqrstuvwxyz")]


@pytest.mark.parametrize("waiting", [True, False])
async def test_an_answer_comes_by_the_deadline_and_says_what_was_waited_for(
    engine: FakeEngine, health: FakeHealth, waiting: bool
) -> None:
    engine.open.clear()
    service = fake_service(engine, health)
    if waiting:
        await service.registry.waits.pause(PART, "the disk is full.", 0)
    told = "m (clip visual) waits: the disk is full." if waiting else "Triton is still at work on it."
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    assert asyncio.get_running_loop().time() == pytest.approx(280)
    assert (answer.status_code, answer.json()) == (503, {"detail": f"No answer within 280 s. {told}"})


async def test_a_picture_waits_for_room_and_is_told_that_there_was_none(
    engine: FakeEngine, health: FakeHealth
) -> None:
    service = fake_service(engine, health, held_bytes=1)
    transport = httpx.ASGITransport(create_app(service))
    picture = {"image": ("blob", bytes(SMALL_BODY_BYTES), "application/octet-stream")}
    with service.memory.share() as other:
        assert other.take(2 * SMALL_BODY_BYTES)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/predict", data={"entries": VISUAL}, files=picture)
            small = await client.post("/predict", data={"entries": VISUAL}, files=IMAGE)
    told = "No answer within 280 s. There was no room for its body (IMMICH_TRITON_HELD_BYTES)."
    assert (answer.status_code, answer.json()) == (503, {"detail": told})
    assert (small.status_code, service.memory.held) == (200, 0)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused(engine: FakeEngine, health: FakeHealth, declared: bool) -> None:
    body = bytes(2000)
    with TestClient(create_app(fake_service(engine, health, max_body_bytes=1000))) as client:
        answer = client.post(
            "/predict",
            content=body if declared else iter([body]),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 413
    assert "limit" in answer.json()["detail"]


async def test_a_body_that_stops_is_not_waited_for(engine: FakeEngine, health: FakeHealth) -> None:
    app = create_app(service := fake_service(engine, health))

    async def upload() -> AsyncIterator[bytes]:
        for some in (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n', b"a", b" lemon"):
            yield some
            await asyncio.sleep(0.9 * SILENCE_S)
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ml") as client:
        form = {"content-type": "multipart/form-data; boundary=x"}
        answer = await client.post("/predict", content=upload(), headers=form)
    assert (answer.status_code, service.memory.held) == (408, 0)
    assert asyncio.get_running_loop().time() == pytest.approx((2 * 0.9 + 1) * SILENCE_S)


def test_a_request_is_logged_in_one_line_without_what_was_sent(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "adapter.requests")
    client.post("/predict", data={"entries": TEXTUAL, "text": "private words"})
    lines = [record.getMessage() for record in caplog.records if record.name == "adapter.requests"]
    assert len(lines) == 1
    assert lines[0].startswith("POST /predict: m (clip textual), ")
    assert lines[0].endswith(" ms, 200")
    assert "private" not in caplog.text
