"""How the log looks to people and to machines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from adapter import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_on_a_terminal_a_line_is_its_time_level_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")  # no escape codes
    logs.set_up("info", color=False)
    logging.getLogger("adapter.server").info("ready on port %d", 3003)
    _, level, message = terminal.getvalue().split(maxsplit=2)
    assert (level, message.strip()) == ("INFO", "ready on port 3003")


def test_elsewhere_a_line_is_json_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", color=True)
    logging.getLogger("adapter.requests").info("done", extra={"fields": {"ms": 3}})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"], line["ms"]) == ("info", "done", 3)


@pytest.mark.parametrize(("name", "level"), [("verbose", "DEBUG"), ("log", "INFO"), ("fatal", "CRITICAL")])
def test_immichs_names_of_levels_are_known(name: str, level: str) -> None:
    logs.set_up(name, color=False)
    assert logging.getLevelName(logging.getLogger().level) == level
