"""Certificates that sign themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
    "-addext subjectAltName=IP:127.0.0.1"
)


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed here, which makes the certificates")
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*MAKE.split(), *files], check=True, capture_output=True)
    return certificate, key
