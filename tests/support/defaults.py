"""The folders of Immich's three default models, as `model_repository/` holds them.

The published graphs are large, or may not be handed on. The generator writes the same files for small graphs of the
same interfaces, so these are what it runs on here. As a module: writes the folders anew.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx

from adapter.preparation.repository import prepare
from adapter.protocol import Part, TaskName, TypeName
from adapter.setting_types import EngineChoice
from adapter.settings import PreparationSettings
from tests.support import families, standins
from tests.support.graphs import save

CLIP, FACES, OCR = "ViT-B-32__openai", "buffalo_l", "PP-OCRv5_mobile"
GRAPHS = {
    Part(TaskName.CLIP, TypeName.VISUAL, CLIP): standins.visual,
    Part(TaskName.CLIP, TypeName.TEXTUAL, CLIP): standins.textual,
    Part(TaskName.FACES, TypeName.DETECTION, FACES): standins.face_detector,
    Part(TaskName.FACES, TypeName.RECOGNITION, FACES): standins.face_recognizer,
    Part(TaskName.OCR, TypeName.DETECTION, OCR): standins.text_detector,
    Part(TaskName.OCR, TypeName.RECOGNITION, OCR): standins.text_recognizer,
}
COMMITTED = Path(__file__).resolve().parents[2] / "model_repository"


def preparation_settings(**chosen: Any) -> PreparationSettings:
    """What models are prepared by: the defaults, but for what is chosen, and the same engine on every host."""
    return PreparationSettings(**{"engine": EngineChoice.ONNXRUNTIME, **chosen})


def build_sources(cache: Path) -> None:
    """Writes the three models into a cache folder, in Immich's layout."""
    families.write(standins.clip_files(), cache / TaskName.CLIP / CLIP)
    for part, build in GRAPHS.items():
        graph = build()
        onnx.checker.check_model(graph)
        save(graph, cache / part.task / part.name / part.type / "model.onnx")


def generate(cache: Path, repository: Path) -> None:
    """Prepares the default models of a cache folder, with default settings."""
    for part in GRAPHS:
        source = cache / part.task / part.name
        prepare(part, source, repository, preparation_settings())


def committable(repository: Path) -> dict[str, str]:
    """What of a repository is committed: path → text. Graphs and tokenizers are fetched, not committed."""
    texts = {}
    for config in sorted(repository.glob("*/config.pbtxt")):
        texts[f"{config.parent.name}/config.pbtxt"] = config.read_text()
        texts[f"{config.parent.name}/1/.gitkeep"] = ""
    return texts


def generate_committable() -> dict[str, str]:
    """What is to be committed, generated from new stand-ins."""
    with tempfile.TemporaryDirectory() as scratch:
        build_sources(Path(scratch, "cache"))
        generate(Path(scratch, "cache"), Path(scratch, "state/model_repository"))
        return committable(Path(scratch, "state/model_repository"))


def main() -> None:
    """Writes the folders anew, into the folder of the first argument or the checkout's own."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED
    texts = generate_committable()
    for part in GRAPHS:
        for stale in target.glob(f"{part.name}.*"):
            shutil.rmtree(stale)
    for name, text in texts.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)
    sys.stdout.write(f"{len(texts) // 2} folders are written to {target}\n")


if __name__ == "__main__":
    main()
