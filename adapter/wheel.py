"""Where Triton lies on this host: the PyPI wheel `nvidia-pytriton`, whose files are used and whose package is not."""

import importlib.util
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from adapter.errors import SetupError

BACKENDS = Path(__file__).resolve().parent.parent / "backends"


@dataclass(frozen=True)
class Wheel:
    """Where the parts of Triton lie on this host."""

    server: Path
    backends: Path
    stub: Path
    libraries: tuple[Path, ...]


def locate() -> Wheel:
    """Finds Triton and what its Python backend needs.

    Raises:
        SetupError: a part is missing; the message names it and the command that installs it.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise SetupError(
            "Triton is not installed here. In a checkout scripts/setup installs it; or use one that is running "
            "already: IMMICH_TRITON_URL=http://host:8000"
        )
    package = Path(spec.origin).parent
    triton = package / "tritonserver"
    stub = triton / "python_backend_stubs" / _python_version() / "triton_python_backend_stub"
    if not stub.exists():
        raise SetupError(
            f"Triton has no Python stub for Python {_python_version()}; use Python 3.11 or 3.12."
        )
    if int(version("numpy").split(".")[0]) >= 2:
        raise SetupError(
            f"numpy {version('numpy')} is installed, but Triton 2.51's Python stub was built for numpy 1. "
            f"Run: {sys.executable} -m pip install 'numpy<2'"
        )
    return Wheel(
        server=triton / "bin" / "tritonserver",
        backends=triton / "backends",
        stub=stub,
        libraries=(package.parent / "nvidia_pytriton.libs", find_libpython().parent),
    )


def find_libpython() -> Path:
    """The shared library of the running Python, which the stub loads.

    Raises:
        SetupError: this Python has none.
    """
    name = f"libpython{_python_version()}.so.1.0"
    folders = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"]
    folders.append(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}")
    for folder in folders:
        if folder and (Path(folder) / name).exists():
            return Path(folder) / name
    raise SetupError(
        f"{name} is missing, which Triton's Python backend needs. "
        f"On Debian or Ubuntu: sudo apt-get install libpython{_python_version()}"
    )


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def assemble_backends(wheel: Wheel) -> None:
    """Completes the wheel's backend folder, which Triton takes as a whole: the stub for this Python, and our backends.

    Raises:
        SetupError: something is missing there, and the folder cannot be written.
    """
    targets = {wheel.backends / "python" / wheel.stub.name: wheel.stub}
    targets |= {wheel.backends / model.parent.name: model.parent for model in BACKENDS.glob("*/model.py")}
    try:
        for link, target in targets.items():
            if not (link.exists() and link.samefile(target)):
                link.unlink(missing_ok=True)
                link.symlink_to(target)
    except OSError as error:
        raise SetupError(f"Triton's backends cannot be put in place, run scripts/setup: {error}") from error
