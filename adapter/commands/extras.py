"""What the command line needs beside the service's own dependencies."""

from collections.abc import Iterator
from contextlib import contextmanager

from adapter.errors import SetupError


@contextmanager
def bench_extra() -> Iterator[None]:
    """Imports within the block need the extra `bench`.

    Raises:
        SetupError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is missing, which benchmarks need. Install it with: pip install 'immich-triton[bench]'"
        ) from error
