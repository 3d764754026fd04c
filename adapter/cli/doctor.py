"""`immich-triton doctor`: each line is good, or says what to do."""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from adapter import settings as environment
from adapter.cli.options import Json, own_url
from adapter.errors import SetupError
from adapter.setting_types import Url
from adapter.settings import Settings

if TYPE_CHECKING:
    from adapter.checks import Finding

IMMICH = (3, 1), (3, 3)
"""The first and the last release whose answers this version gives."""
TIMEOUT_S = 3.0


def doctor(
    immich: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Immich's own server, such as http://nas:2283: is it supported?"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Looks at this host and at the service on it: each line is good, or says what to do.

    Exit status 1 if one is not good.
    """
    findings = list(examine(environment.load(), immich))
    if json_output:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            mark, color = ("good", typer.colors.GREEN) if finding.good else ("look", typer.colors.RED)
            typer.echo(f"{typer.style(mark, fg=color)}  {finding.subject:14} {finding.message}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings, immich: str | None = None) -> Iterator["Finding"]:
    """Looks at everything that the service needs on this host, one after the other."""
    from adapter.checks import at_start, gpu
    from adapter.preparation.door import Preparation

    yield _finding("Python", _python)
    yield _finding("Triton", lambda: _triton(settings))
    yield _finding("service", lambda: _service(settings))
    yield from at_start(settings, Preparation(settings))
    yield gpu(settings)
    yield _finding("downloads", lambda: _downloads(settings))
    yield _finding("Immich", lambda: _immich(immich))


def _finding(subject: str, check: Callable[[], str]) -> "Finding":
    from adapter.checks import Finding

    try:
        return Finding(subject, True, check())
    except SetupError as fault:
        return Finding(subject, False, str(fault))


def _python() -> str:
    found = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        raise SetupError(f"Python {found} runs here; 3.11 or 3.12 is needed")
    import onnxruntime  # whichever package it comes from: onnxruntime or onnxruntime-gpu

    return f"{found} in {sys.prefix}, numpy {version('numpy')}, onnxruntime {onnxruntime.__version__}"


def _triton(settings: Settings) -> str:
    """The embedded one is installed; or the other one answers, and takes the key."""
    import httpx2

    from adapter.triton import REPOSITORY_KEY_HEADER
    from adapter.wheel import locate

    url = settings.triton_url
    if url is None:
        return f"embedded: {locate().server}"
    headers = {REPOSITORY_KEY_HEADER: settings.key} if settings.key else {}
    try:
        about = httpx2.get(f"{url}/v2", timeout=TIMEOUT_S, trust_env=False)
        index = httpx2.post(f"{url}/v2/repository/index", headers=headers, timeout=TIMEOUT_S, trust_env=False)
        what = f"Triton {about.json()['version']} at {url}"
        if index.status_code == 403:
            raise SetupError(
                f"{what} does not take the key: IMMICH_TRITON_REPOSITORY_KEY_FILE must be the file that it made"
            )
        names = [model["name"] for model in index.json() if model.get("state") == "READY"]
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise SetupError(f"{url} cannot be reached: {error}. Is Triton running there?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"what answers at {url} is no Triton") from error
    return f"{what}, with {len(names)} models and steps loaded"


def _service(settings: Settings) -> str:
    """A service that runs is asked how it is; where none does, its port must be free."""
    import httpx2

    from adapter import server

    where = f"port {settings.port}"
    taken = f"{where} is taken by another program, or by this one with another token or TLS: set IMMICH_PORT, or those"
    try:
        # The certificate is for another name than the one that this host calls itself by.
        answer = httpx2.get(f"{own_url(settings)}/ping", timeout=TIMEOUT_S, verify=False, trust_env=False)
        if answer.status_code == 503:
            raise SetupError(f"runs on {where}, and cannot serve now: {answer.json()['detail']}")
    except httpx2.ConnectError:
        server.listen(settings.host, settings.port).close()
        return f"none runs here; {where} is free for it"
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise SetupError(taken) from error
    if answer.text != "pong" or "server" in answer.headers:  # Immich's own container says which one it has
        raise SetupError(taken)
    return f"runs on {where} and answers{_loaded(settings)}"


def _loaded(settings: Settings) -> str:
    """What the running service says in its metrics of the models that are loaded."""
    import httpx2
    from prometheus_client.parser import text_string_to_metric_families

    if settings.metrics_listen is None:
        return ""
    host, port = settings.metrics_listen
    try:
        text = httpx2.get(f"http://{host}:{port}/metrics", timeout=TIMEOUT_S, trust_env=False).text
    except httpx2.HTTPError as error:
        raise SetupError(f"runs, but its metrics at {host}:{port} do not answer: {error}") from error
    parts = [
        "{model} {type} on the {device}".format(**sample.labels)
        for family in text_string_to_metric_families(text)
        if family.name == "immich_triton_model_loaded"
        for sample in family.samples
    ]
    return f"; loaded: {', '.join(parts) or 'nothing'}"


def _downloads(settings: Settings) -> str:
    import os

    import httpx2
    from huggingface_hub import constants, get_session

    from adapter.preparation.fetch.hub_errors import explain
    from adapter.preparation.fetch.sources import RAPIDOCR_URL

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set: nothing is fetched"
    if settings.models.exists() and not os.access(settings.models, os.W_OK):
        return "nothing is fetched into a folder that is only read"
    for endpoint in (constants.ENDPOINT, RAPIDOCR_URL):
        try:
            get_session().head(endpoint, timeout=TIMEOUT_S)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise SetupError(
                f"{explain(error, endpoint)} Where no model is to be fetched, set HF_HUB_OFFLINE=1."
            ) from error
    return f"{constants.ENDPOINT} can be reached"


def _immich(url: str | None) -> str:
    import httpx2
    from pydantic import TypeAdapter, ValidationError

    supported = " to ".join(f"{major}.{minor}" for major, minor in IMMICH)
    if url is None:
        return f"{supported} are supported"
    try:
        server = TypeAdapter(Url).validate_python(url)
        found = httpx2.get(f"{server}/api/server/version", timeout=TIMEOUT_S).json()
        number = found["major"], found["minor"]
    except ValidationError as error:
        raise SetupError(f"{url!r} is no URL of an Immich server") from error
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{url} does not answer as an Immich server does: {error}") from error
    if not IMMICH[0] <= number <= IMMICH[1]:
        raise SetupError(f"{url} runs {number[0]}.{number[1]}; {supported} are supported by this version")
    return f"{url} runs {number[0]}.{number[1]}; {supported} are supported"
