"""The README's commands, as written."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[2]
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for line in block.strip().splitlines()
]
START_TIMEOUT_S = 300


def run(command: str, home: Path) -> str:
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env={**os.environ, "HOME": str(home)}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_serve_ends_with_the_url_and_curl_gets_answers(tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 3003)) == 0:
            pytest.skip("port 3003 is in use on this machine, and the README's commands use it")
    assert COMMANDS[:2] == ["scripts/serve", "scripts/test"]
    log = tmp_path / "log"
    with log.open("w") as output:
        service = subprocess.Popen(
            [COMMANDS[0]], cwd=ROOT, env={**os.environ, "HOME": str(tmp_path)}, stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + START_TIMEOUT_S
        while "URL: http://" not in log.read_text():
            assert service.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        answers = [run(command, tmp_path) for command in COMMANDS if command.startswith("curl")]
        assert answers[0] == "pong"
        assert answers[1].startswith('{"clip":"[')
    finally:
        service.send_signal(signal.SIGINT)
        assert service.wait(15) == 0


def test_the_demo_finds_every_picture_face_and_line(tmp_path: Path) -> None:
    output = run("scripts/demo", tmp_path)
    assert "24 of 24 texts find the picture that they describe." in output
    assert "4 faces of 3 people" in output
    assert "7 of 7 lines are read to the letter" in output
