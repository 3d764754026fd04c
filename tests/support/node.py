"""A client in Node, as Immich's server is one."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("immich.mjs")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed here")


def ask(*urls: str, **request: Any) -> list[dict[str, Any]]:
    """What each URL answers, in turn: those that are tried after one that is dead, too."""
    job = json.dumps({"urls": urls, **request})
    done = subprocess.run(["node", SCRIPT, job], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]
