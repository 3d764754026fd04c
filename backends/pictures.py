"""A decoded picture on its way from the step that decodes it to the step that cuts things out of it.

It lies in shared memory, and only a note of where travels through Triton: some 50 bytes instead of 4.6 MB, which Triton
would copy twice on one thread. Where shared memory is short, the note holds the pixels themselves.

Whoever reads a note takes the picture away. What nobody fetches (the request was cancelled, a process died) is removed
by the steps of the same server once it is older than any request can be, or with the process that left it, or when the
server starts or stops: the names begin as those of the server's other shared memory do.
"""

import os
import re
import secrets
import struct
import time
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

FOLDER = Path("/dev/shm")  # noqa: S108 - POSIX shared memory
OLDEST_S = 600.0
"""Twice as long as Immich waits for an answer."""
SWEEP_EVERY_S = 30.0

_HEADER = struct.Struct("<?II")  # whether it lies in shared memory, height, width
_NAME = re.compile(rb"immich_triton_\d+_picture_\d+_[0-9a-f]{16}")


class Gone(Exception):
    """A picture is not where its note says."""


class Pictures:
    """Where a step leaves its pictures.

    Args:
        folder: of the shared memory.
        server: process of the Triton whose step this is.
    """

    def __init__(self, folder: Path = FOLDER, server: int | None = None) -> None:
        self._folder = folder
        self._all = f"immich_triton_{server or os.getppid()}_picture_"
        self._own = f"{self._all}{os.getpid()}_"
        self._swept = 0.0

    def leave(self, picture: Pixels) -> Pixels:
        """Puts a picture down.

        Args:
            picture: (height, width, 3).

        Returns:
            A note for `fetch`: (n,).
        """
        self._sweep()
        height, width = picture.shape[:2]
        picture = np.ascontiguousarray(picture)
        name = f"{self._own}{secrets.token_hex(8)}"
        if self._has_room(picture.nbytes) and _write(self._folder / name, picture):
            note = _HEADER.pack(True, height, width) + name.encode()
        else:
            note = _HEADER.pack(False, height, width) + picture.tobytes()
        return np.frombuffer(note, np.uint8)

    def fetch(self, note: Pixels) -> Pixels:
        """Takes the picture of a note away.

        Returns:
            (height, width, 3), which cannot be written to.

        Raises:
            Gone: it is not there, or not in its full length.
        """
        data = note.tobytes()
        in_memory, height, width = _HEADER.unpack_from(data)
        if not in_memory:
            return np.frombuffer(data, np.uint8, offset=_HEADER.size).reshape(height, width, 3)
        name = data[_HEADER.size :]
        if not _NAME.fullmatch(name):
            raise Gone(f"{name!r} is no picture's name")
        content = _take(self._folder / name.decode())
        if len(content) != height * width * 3:
            raise Gone(f"{len(content)} bytes are no picture of {height} x {width}")
        return np.frombuffer(content, np.uint8).reshape(height, width, 3)

    def close(self) -> None:
        """Removes what this process left and nobody fetched."""
        for path in self._folder.glob(f"{self._own}*"):
            path.unlink(missing_ok=True)

    def _has_room(self, size: int) -> bool:
        """Half of the shared memory is for pictures: Triton's tensors need the rest."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize - size >= found.f_blocks * found.f_frsize // 2

    def _sweep(self) -> None:
        now = time.time()
        if now - self._swept < SWEEP_EVERY_S:
            return
        self._swept = now
        for path in self._folder.glob(f"{self._all}*"):
            with suppress(OSError):
                if now - path.stat().st_mtime > OLDEST_S:
                    path.unlink()


def _write(path: Path, picture: Pixels) -> bool:
    """False where the memory ended after all."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        left = memoryview(picture).cast("B")
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(file)
    return True


def _take(path: Path) -> mmap:
    try:
        with path.open("rb") as file:
            path.unlink()
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise Gone(f"the picture is gone: {error}") from error
