"""The way in: the routes, and how errors become answers."""

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from adapter.admission import Share
from adapter.errors import ServiceError
from adapter.forms import check_declared_size, read_form
from adapter.metrics import Progress, Stage
from adapter.page.page import page
from adapter.protocol import Entries, Part, Payload, TaskName, check_payload, parse_entries
from adapter.requests import Account, RequestLog, detail
from adapter.security import protect
from adapter.service import Service
from adapter.tasks import Answer, Task, clip, faces, gather, ocr

TASKS: dict[TaskName, Task] = {
    TaskName.CLIP: clip.answer,
    TaskName.FACES: faces.answer,
    TaskName.OCR: ocr.answer,
}
ANSWERS_A_CONNECTION = 97
"""One answer of so many closes its connection: a busy client then connects anew, perhaps to another host behind the
same name. A prime, so that connections in turn are all closed at times."""


def create_app(service: Service) -> FastAPI:
    """The application over a service that is open."""
    app = FastAPI(title="immich-triton", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.answers = itertools.count(1)
    app.add_api_route("/", root, methods=["GET"])
    app.add_api_route("/ping", ping, methods=["GET"])
    app.add_route("/predict", predict, methods=["POST"])  # Starlette's: FastAPI's own steps are not needed
    for expected in (ServiceError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(expected, _answer_error)
    app.add_middleware(RequestLog, metrics=service.metrics, faults=service.faults)
    protect(app, service.settings, service.metrics.refusals)
    return app


def _service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


def _account(request: Request) -> Account:
    return cast("Account", request.state.account)


async def root(request: Request) -> Response:
    """The page for people where a browser asks, Immich's own answer otherwise."""
    if "text/html" in request.headers.get("accept", ""):
        return await page(_service(request))
    return JSONResponse({"message": "Immich ML"})


async def ping(request: Request) -> Response:
    """`pong` while predictions can be served; Immich goes on to another URL otherwise."""
    if trouble := _service(request).health.trouble:
        return _refusal(request, 503, trouble)
    return PlainTextResponse("pong")


async def predict(request: Request) -> Response:
    """Answers all tasks of one request."""
    service = _service(request)
    limit = service.settings.max_body_bytes
    account = _account(request)
    account.progress.enter(Stage.READ)
    check_declared_size(request, limit)
    in_time = service.deadlines.hold(lambda: _waited_for(service, account))
    async with in_time:
        with service.memory.share() as share:
            form = await read_form(request, limit, partial(_make_room, share, account.progress))
            account.bytes = form.size
            entries = parse_entries(form.entries)
            account.parts = _parts(entries)
            check_payload(entries, form.payload)
            account.progress.enter(Stage.TRITON)
            answers = await _answer_all(service, entries, form.payload)
            account.found = {
                str(task): answer.found for task, answer in answers.items() if answer.found is not None
            }
            account.progress.enter(Stage.ENCODE)
            body = answer_body(answers)
    last = next(request.app.state.answers) % ANSWERS_A_CONNECTION == 0
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY),
        headers={"Connection": "close"} if last else None,
        media_type="application/json",
    )


async def _make_room(share: Share, progress: Progress, size: int) -> None:
    """Waits until memory may hold so many bytes more of a body."""
    if not share.take(size):
        progress.enter(Stage.WAIT)
        await share.turn()
        progress.enter(Stage.READ)


def _waited_for(service: Service, account: Account) -> str:
    """Why a request was not answered in time, in a sentence."""
    match account.progress.stage:
        case Stage.WAIT:
            return "There was no room for its body (IMMICH_TRITON_HELD_BYTES)."
        case Stage.READ:
            return "Its body has not arrived."
    return service.registry.waits.of(account.parts) or "Triton is still at work on it."


async def _answer_all(service: Service, entries: Entries, payload: Payload) -> dict[TaskName, Answer]:
    answers = await gather(*(TASKS[task](service.engine, types, payload) for task, types in entries.items()))
    return dict(zip(entries, answers, strict=True))


def answer_body(answers: Mapping[TaskName, Answer]) -> dict[str, Any]:
    """What is answered, in Immich's words."""
    body = {str(task): answer.value for task, answer in answers.items()}
    sizes = [answer.image_size for answer in answers.values() if answer.image_size]
    return body | ({"imageHeight": sizes[0].height, "imageWidth": sizes[0].width} if sizes else {})


def _parts(entries: Entries) -> list[Part]:
    return [entry.part for types in entries.values() for entry in types.values()]


async def _answer_error(request: Request, error: Exception) -> Response:
    """The answer to whatever may be expected to go wrong, and the reason in the request's line of the log."""
    match error:
        case ServiceError():
            return _refusal(request, error.status, str(error))
        case HTTPException():
            return _refusal(request, error.status_code, error.detail, error.headers)
        case RequestValidationError():
            faults = error.errors()
            _account(request).reason = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in faults)
            return detail(422, faults)
    return _refusal(request, 499, "The client went away before its request was read.")


def _refusal(
    request: Request, status: int, reason: str, headers: Mapping[str, str] | None = None
) -> Response:
    _account(request).reason = reason
    return detail(status, reason, headers)
