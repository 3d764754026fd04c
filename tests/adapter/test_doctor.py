"""The doctor: no false alarm, and each fault with what to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from adapter import cli
from adapter.embedded import free_port
from tests.support.server import Server

Answers = dict[str, tuple[int, str]]


@contextmanager
def host(answers: Answers, banner: str = "") -> Iterator[int]:
    """Something that answers on a port of this host.

    Args:
        answers: status and body, by path.
        banner: its `Server` header.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status, body = answers.get(self.path, (404, "{}"))
            self.send_response_only(status)
            if banner:
                self.send_header("Server", banner)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer  # noqa: N815 - as the library calls them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(autouse=True)
def variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.MonkeyPatch:
    """Those of a host on which all is well; a test sets others."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("IMMICH_TRITON_STATE_FOLDER", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("IMMICH_HOST", "127.0.0.1")
    monkeypatch.setenv("IMMICH_PORT", str(free_port()))
    return monkeypatch


def doctor(*options: str) -> tuple[int, dict[str, tuple[bool, str]]]:
    done = CliRunner().invoke(cli.app, ["doctor", "--json", *options])
    found = {each["subject"]: (each["good"], each["message"]) for each in json.loads(done.stdout)}
    return done.exit_code, found


def test_on_a_host_before_the_first_start_all_is_good() -> None:
    status, found = doctor()
    assert [each for each in found.items() if not each[1][0]] == []
    assert status == 0
    assert "none runs here" in found["service"][1]


TRITON: Answers = {
    "/v2": (200, '{"name": "triton", "version": "2.51.0"}'),
    "/v2/repository/index": (200, '[{"name": "one", "state": "READY"}, {"name": "two"}]'),
}


def test_in_a_container_without_triton_the_one_at_the_url_is_asked(variables: pytest.MonkeyPatch) -> None:
    variables.setattr("importlib.util.find_spec", lambda _: None)  # as where the wheel is not installed
    with host(TRITON) as port:
        variables.setenv("IMMICH_TRITON_URL", f"127.0.0.1:{port}")
        status, found = doctor()
    assert status == 0
    assert found["Triton"] == (
        True,
        f"Triton 2.51.0 at http://127.0.0.1:{port}, with 1 models and steps loaded",
    )


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({**TRITON, "/v2/repository/index": (403, "{}")}, "does not take the key"),
        ({}, "is no Triton"),
        (None, "cannot be reached"),
    ],
)
def test_a_triton_that_cannot_be_used_is_told(
    variables: pytest.MonkeyPatch, answers: Answers | None, words: str
) -> None:
    with host(answers or {}) as port:
        variables.setenv(
            "IMMICH_TRITON_URL", f"http://127.0.0.1:{port if answers is not None else free_port()}"
        )
        status, found = doctor()
    assert status == 1
    assert (found["Triton"][0], words in found["Triton"][1]) == (False, True)


@pytest.mark.parametrize(
    ("path", "answer", "banner", "good", "words"),
    [
        ("/ping", (200, "pong"), "", True, "answers"),
        ("/ping", (200, "pong"), "uvicorn", False, "another program"),
        ("/ping", (503, '{"detail": "models are being loaded"}'), "", False, "now: models are being loaded"),
        ("/ping", (503, "busy"), "", False, "another program"),
        ("/other", (200, "pong"), "", False, "another token"),
    ],
)
def test_what_answers_on_the_port_is_asked_how_it_is(
    variables: pytest.MonkeyPatch, path: str, answer: tuple[int, str], banner: str, good: bool, words: str
) -> None:
    with host({path: answer}, banner) as port:
        variables.setenv("IMMICH_PORT", str(port))
        finding = doctor()[1]["service"]
    assert (finding[0], words in finding[1]) == (good, True)


@pytest.mark.parametrize(
    ("version", "good"), [((3, 0), False), ((3, 1), True), ((3, 3), True), ((3, 4), False), ((4, 1), False)]
)
def test_immichs_server_is_asked_for_its_version(version: tuple[int, int], good: bool) -> None:
    body = json.dumps({"major": version[0], "minor": version[1], "patch": 0})
    with host({"/api/server/version": (200, body)}) as port:
        finding = doctor("--immich", f"127.0.0.1:{port}")[1]["Immich"]
    assert (finding[0], "3.1 to 3.3 are supported" in finding[1]) == (good, True)


def test_something_else_than_immich_is_told() -> None:
    with host({}) as port:
        assert not doctor("--immich", f"http://127.0.0.1:{port}")[1]["Immich"][0]
    assert not doctor("--immich", "http://[")[1]["Immich"][0]


def test_a_service_that_runs_tells_in_its_metrics_what_is_loaded(variables: pytest.MonkeyPatch) -> None:
    metrics = 'immich_triton_model_loaded{device="cpu",model="one",type="visual"} 1.0\n'
    with host({"/ping": (200, "pong"), "/metrics": (200, metrics)}) as port:
        variables.setenv("IMMICH_PORT", str(port))
        variables.setenv("IMMICH_TRITON_METRICS_LISTEN", f"127.0.0.1:{port}")
        found = doctor()[1]["service"]
    assert found == (True, f"runs on port {port} and answers; loaded: one visual on the cpu")


@pytest.mark.triton
def test_beside_a_running_service_all_is_good(variables: pytest.MonkeyPatch, server: Server) -> None:
    variables.setenv("IMMICH_PORT", str(server.port))
    status, found = doctor()
    assert status == 0
    assert found["service"] == (True, f"runs on port {server.port} and answers")
