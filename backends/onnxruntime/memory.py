"""What the graphs of one server take of a GPU's memory: each process notes its own, so that the sum stays in its limit.

A note is a file in shared memory whose name says all: it is swept with what else the server leaves there.
"""

import os
from pathlib import Path

FOLDER = Path("/dev/shm")  # noqa: S108 - POSIX shared memory
_ENDED = "Z"  # as Linux writes it: a zombie
PROCESS_MIB = 256
"""What CUDA takes for a process, before it computes anything."""


class TooLittle(Exception):
    """What other models leave does not suffice."""


def claim(wanted_mib, limit_mib, folder=FOLDER, server=None):
    """Notes what this process takes, until it ends.

    Raises:
        TooLittle: with it, all would take more than the limit.
    """
    server = server or os.getppid()
    wanted_mib += PROCESS_MIB
    notes = f"immich_triton_{server}_gpu_"
    taken_mib = sum(_read(path) for path in folder.glob(f"{notes}*"))
    if taken_mib + wanted_mib > limit_mib:
        raise TooLittle(
            f"it needs {wanted_mib} MiB of the GPU's memory, and others have {taken_mib} of "
            f"IMMICH_TRITON_GPU_MEMORY_MIB={limit_mib}: raise it, or wait until they are unloaded"
        )
    (folder / f"{notes}{os.getpid()}_{wanted_mib}").touch()


def release(folder=FOLDER, server=None):
    """Takes this process's note back."""
    for path in folder.glob(f"immich_triton_{server or os.getppid()}_gpu_{os.getpid()}_*"):
        path.unlink(missing_ok=True)


def _read(path):
    """The MiB of a note; 0 where its process has ended, be it that Triton has not asked for its end yet."""
    pid, mib = path.name.split("_")[-2:]
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        state = _ENDED
    if state != _ENDED:
        return int(mib)
    path.unlink(missing_ok=True)
    return 0
