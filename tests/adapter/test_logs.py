"""How the log looks to people and to machines."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from adapter import logs
from adapter.setting_types import LogFormat


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_line_is_its_time_level_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")  # no escape codes
    logs.set_up("info", None, color=False)
    logging.getLogger("adapter.server").info("ready on port %d", 3003)
    _, level, message = terminal.getvalue().split(maxsplit=2)
    assert (level, message.strip()) == ("INFO", "ready on port 3003")


def test_elsewhere_a_line_is_json_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", None, color=True)
    logging.getLogger("adapter.requests").info("done", extra={"fields": {"ms": 3}})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"], line["ms"]) == ("info", "done", 3)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("log_format", LogFormat)
def test_the_format_that_is_asked_for_is_written_everywhere(
    monkeypatch: pytest.MonkeyPatch, log_format: LogFormat, terminal: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.set_up("info", log_format, color=False)
    logging.getLogger("adapter.server").info("ready")
    line = stream.getvalue().strip()
    assert line.endswith("ready") if log_format is LogFormat.TEXT else json.loads(line)["message"] == "ready"


class Minute:
    """A clock, and what is to be done later."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._later: list[tuple[float, Callable[[], object]]] = []

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self._later.append((self.now_s + seconds, action))

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        due = [action for at, action in self._later if at <= self.now_s]
        self._later = [later for later in self._later if later[0] > self.now_s]
        for action in due:
            action()


class TestRepeats:
    @pytest.fixture
    def minute(self, caplog: pytest.LogCaptureFixture) -> Iterator[Minute]:
        minute = Minute()
        caplog.handler.addFilter(repeats := logs.Repeats(lambda: minute.now_s, minute.after))
        yield minute
        caplog.handler.removeFilter(repeats)

    def test_a_thousand_failures_of_one_kind_are_one_line_and_a_count(
        self, minute: Minute, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = logging.getLogger("adapter.requests")
        for number in range(1000):
            log.warning("POST /predict: m, %d kB, 3 ms, 503: no model", number, extra={"fields": {"ms": 3}})
            minute.pass_s(0.01)
        log.warning("POST /predict: m, 1 kB, 3 ms, 400: no picture")
        minute.pass_s(logs.REPEATS_S)
        log.warning("POST /predict: m, 7 kB, 3 ms, 503: no model")
        assert caplog.messages == [
            "POST /predict: m, 0 kB, 3 ms, 503: no model",
            "POST /predict: m, 1 kB, 3 ms, 400: no picture",
            "999 times more in 60 s: POST /predict: m, 1 kB, 3 ms, 503: no model",
            "POST /predict: m, 7 kB, 3 ms, 503: no model",
        ]
        assert vars(caplog.records[2])["fields"] == {"ms": 3, "more": 999}

    def test_other_names_and_addresses_are_other_warnings_and_good_news_is_never_counted(
        self, minute: Minute, caplog: pytest.LogCaptureFixture
    ) -> None:
        lines = ["ViT-B-32__openai", "ViT-B-16__openai", "refused: 10.0.0.5", "refused: 10.0.0.6"]
        for line in lines:
            logging.getLogger("adapter").warning(line)
        caplog.set_level(logging.INFO)
        for _ in range(2):
            logging.getLogger("adapter").info("done")
        assert caplog.messages == [*lines, "done", "done"]

    def test_each_bug_has_its_traceback_once(self, minute: Minute, caplog: pytest.LogCaptureFixture) -> None:
        for bug in (KeyError("a"), KeyError("b"), KeyError("a")):
            logging.getLogger("adapter").error("Internal error", exc_info=bug)
        assert [record.exc_info and str(record.exc_info[1]) for record in caplog.records] == ["'a'", "'b'"]

    def test_memory_of_warnings_is_bounded(self, minute: Minute) -> None:
        repeats = logs.Repeats(lambda: minute.now_s, minute.after)
        for name in range(3 * logs.MOST_KINDS):
            line = f"refused: model-{name}"
            assert repeats.filter(logging.LogRecord("adapter", logging.WARNING, "", 0, line, None, None))
        assert len(repeats._told) <= logs.MOST_KINDS


@pytest.mark.parametrize(("name", "level"), [("verbose", "DEBUG"), ("log", "INFO"), ("fatal", "CRITICAL")])
def test_immichs_names_of_levels_are_known(name: str, level: str) -> None:
    logs.set_up(name, None, color=False)
    assert logging.getLevelName(logging.getLogger().level) == level
