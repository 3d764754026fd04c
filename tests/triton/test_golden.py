"""The original's answers, through the real stack."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.golden import Case, cases
from tests.support.server import Server

pytestmark = pytest.mark.triton


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_the_originals_answer_holds(server: Server, case: Case) -> None:
    assert case.fault(case.send(server.client)) is None


@pytest.mark.parametrize("group", ["clip-", "face", "ocr", "combined", "http", "err/"])
def test_all_of_the_originals_answers_hold(server: Server, shared: Path, group: str) -> None:
    command = [sys.executable, str(shared / "golden/check"), server.url, "--release", "3.3", "--only", group]
    check = subprocess.run(command, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
