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
def test_all_of_the_originals_answers_hold(
    server: Server, shared: Path, golden_cases: Path, group: str
) -> None:
    check = subprocess.run(
        [
            sys.executable,
            str(shared / "golden/check"),
            server.url,
            "--cases",
            str(golden_cases),
            "--only",
            group,
        ],
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stdout + check.stderr
