"""Compiles the kernels for each level of x86-64 processors, beside their sources, with the compiler of `ziglang`.

Runs while the package is built, and by itself: python transforms/kernels/compile.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
LEVELS = ("v2", "v3", "v4")

# No contraction: a multiplication and an addition are rounded each, as in Pillow.
OPTIONS = "-O3 -std=gnu11 -Wall -Wno-psabi -Werror -fPIC -ffp-contract=off -mprefer-vector-width=512".split()
TARGET = "x86_64-linux-gnu"


def compile_all() -> list[Path]:
    """The libraries, one a level of processors."""
    return [_compile(level) for level in LEVELS]


def _compile(level: str) -> Path:
    library = FOLDER / f"{level}.so"
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for source in sorted(FOLDER.glob("*.c")):
            objects.append(f"{scratch}/{source.stem}.o")
            _zig(scratch, *OPTIONS, f"-march=x86_64_{level}", "-c", str(source), "-o", objects[-1])
        # Without libraries: the process that loads this one has what it calls, and linking takes no time.
        _zig(scratch, "-shared", "-nostdlib", "-s", *objects, "-o", str(library))
    return library


def _zig(scratch: str, *arguments: str) -> None:
    environment = {"ZIG_GLOBAL_CACHE_DIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", TARGET, *arguments]
    subprocess.run(command, check=True, env={**os.environ, **environment})  # noqa: S603


if __name__ == "__main__":
    compile_all()
