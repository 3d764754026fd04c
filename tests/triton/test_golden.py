"""The original's answers, through the real stack."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.golden import comparable
from tests.support.server import Server

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def cases(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the cases, as far as this processor can give the original's answers."""
    file = tmp_path_factory.mktemp("golden") / "cases.json"
    file.write_text(
        json.dumps([comparable(case) for case in json.loads((shared / "golden/cases.json").read_text())])
    )
    return file


@pytest.mark.parametrize("group", ["clip-", "face", "ocr", "combined", "http", "err/"])
def test_the_originals_answers_hold(server: Server, shared: Path, cases: Path, group: str) -> None:
    check = subprocess.run(
        [sys.executable, str(shared / "golden/check"), server.url, "--cases", str(cases), "--only", group],
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stdout + check.stderr
