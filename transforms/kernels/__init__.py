"""The loops of `resample` and `perspective`, in C, compiled when the package is installed (`compile`).

They are called through `resample` and `perspective`, trust what they are given, and release the GIL.
"""

import ctypes
import re
from functools import cache
from pathlib import Path

import numpy as np
from numpy.ctypeslib import ndpointer
from numpy.typing import NDArray

FLAGS = {
    "v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
    "v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe",
    "v2": "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
}
"""What Linux says of a processor of each level of x86-64, the highest first. A level has those below it."""


@cache
def load(level: str | None = None) -> ctypes.CDLL:
    """The compiled kernels, for a level of processors; without one, for the highest that this one has.

    Raises:
        OSError: they were not compiled, or the processor is below them all.
    """
    library = Path(__file__).parent / f"{level or levels()[0]}.so"
    if not library.exists():
        raise OSError(f"{library} is missing: scripts/setup makes it")
    ctypes.CDLL("libm.so.6", ctypes.RTLD_GLOBAL)  # the kernels are linked with nothing
    kernels = ctypes.CDLL(str(library))
    pixels, length = ndpointer(np.uint8, ndim=3, flags="C"), ctypes.c_int64
    kernels.resize.argtypes = [pixels, *[length] * 8, ctypes.c_int, pixels]
    kernels.transform_perspective.argtypes = [
        *(pixels, length, length),
        ndpointer(np.float64, shape=(8,), flags="C"),
        *(length, length, pixels),
    ]
    kernels.transform_perspective.restype = None
    return kernels


def as_source(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture uint8 (h, w, 3) as the kernels take it: row after row.

    Raises:
        ValueError: it has no pixels, or other values.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"not an RGB picture: {pixels.dtype} of the shape {pixels.shape}")
    return np.ascontiguousarray(pixels)


def levels() -> list[str]:
    """The levels that this processor has, the highest first.

    Raises:
        OSError: none.
    """
    found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    had = [level for level, needed in FLAGS.items() if flags >= set(needed.split())]
    if not had:
        raise OSError("the processor is older than x86-64-v2 (SSE 4.2), which is needed")
    return had
