"""Imports run down, never in a circle, and the process that answers Immich loads nothing that it does not need."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapter", "backends", "bench", "demo", "transforms")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}
HEAVY = {"PIL", "cv2", "onnx", "onnxruntime", "tokenizers"}
STEPS = {
    "clip_preprocess": {"PIL"},
    "clip_tokenize": {"tokenizers"},
    "face_preprocess": {"PIL", "cv2"},
    "face_postprocess": {"cv2"},
    "ocr_preprocess": {"PIL"},
    "ocr_postprocess": {"cv2"},
    "ocr_ctc": set(),
    "onnxruntime": {"onnxruntime"},
}
"""Each step is one or more processes, each of which holds what it imports: OpenCV takes 15 MB."""
COMMANDS = ("adapter.cli", "adapter.compare", "adapter.__main__")
BELOW_PREPARATION = (
    "adapter.environment",
    "adapter.errors",
    "adapter.processor",
    "adapter.protocol",
    "adapter.setting_types",
    "adapter.settings",
)


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports: our modules by their full names, others by their packages'."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in FILES else node.module for name in inner}
    return frozenset(name if name in FILES else name.partition(".")[0] for name in found)


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def arrows(*packages: str) -> Iterator[tuple[str, str]]:
    """Who imports what, of the modules of some packages."""
    return ((module, name) for module in FILES if is_in(module, *packages) for name in imports(module))


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        (("adapter", "backends", "bench", "demo"), ("transforms",)),
        (("adapter", "bench", "demo"), ("backends",)),
        (("bench",), ("adapter.preparation",)),
        (("adapter.preparation.triton_models", "adapter.preparation.fetch"), ("adapter.preparation.graphs",)),
        (("adapter.preparation.graphs",), ("adapter.preparation.fetch",)),
    ],
)
def test_what_lies_below_knows_nothing_of_what_lies_above(upper: tuple[str], lower: tuple[str]) -> None:
    assert [(module, name) for module, name in arrows(*lower) if is_in(name, *upper)] == []


def test_the_service_knows_of_preparation_its_door_only() -> None:
    service = {
        name for name in FILES if is_in(name, "adapter") and not is_in(name, "adapter.preparation", *COMMANDS)
    }
    found = {name for module in service for name in imports(module) if is_in(name, "adapter.preparation")}
    assert found == {"adapter.preparation.door"}
    others = {
        name
        for module in service
        for name in imports(module)
        if is_in(name, "backends", "bench", "demo", *HEAVY)
    }
    assert others == {"backends.cores"}, "which both sides count in the same way"


def test_preparation_times_what_will_serve_and_knows_of_the_service_its_words_and_settings_only() -> None:
    ours = {name for _, name in arrows("adapter.preparation") if is_in(name, *PACKAGES)}
    assert {
        name for name in ours if not is_in(name, "adapter.preparation", "backends.onnxruntime", "transforms")
    } <= set(BELOW_PREPARATION)


def test_no_module_imports_itself_by_way_of_others() -> None:
    below: dict[str, frozenset[str]] = {}

    def reach(module: str, path: tuple[str, ...]) -> frozenset[str]:
        assert module not in path, f"a circle: {' → '.join((*path, module))}"
        if module not in below:
            ours = imports(module) & FILES.keys()
            below[module] = ours.union(*(reach(name, (*path, module)) for name in ours))
        return below[module]

    for module in FILES:
        reach(module, ())


@pytest.mark.parametrize(("step", "libraries"), STEPS.items())
def test_a_step_loads_the_libraries_that_it_works_with(step: str, libraries: set[str]) -> None:
    reached: set[str] = set()
    ahead = {f"backends.{step}.model"}
    while ahead:
        reached |= ahead
        ahead = {name for module in ahead & FILES.keys() for name in imports(module)} - reached
    assert reached & HEAVY == libraries


def test_the_process_that_answers_immich_loads_no_onnx_and_no_pixels_of_opencv() -> None:
    names = "import sys, adapter.server; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_onnx_runtime_writes_no_telemetry(tmp_path: Path) -> None:
    session = (
        "import adapter, onnx.parser, onnxruntime\n"
        'graph = onnx.parser.parse_model(\'<ir_version: 10, opset_import: ["": 17]> g (float[1] x) => (float[1] y) '
        "{ y = Relu(x) }')\n"
        "onnxruntime.InferenceSession(graph.SerializeToString())"
    )
    subprocess.run([sys.executable, "-c", session], cwd=ROOT, env={"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
