"""What is written for Triton: of each part, the models that it is made of and the files in their folders."""

from collections.abc import Callable, Mapping
from pathlib import Path

from adapter.preparation.graphs.rewrite import Recipe
from adapter.preparation.triton_models import clip, faces, ocr
from adapter.preparation.triton_models.shared import Generated
from adapter.protocol import Part, TaskName, TypeName
from adapter.settings import PreparationSettings


def generate(part: Part, source: Path, staging: Path, settings: PreparationSettings) -> Generated:
    """Writes the files of a part's models into `staging`, and says what their configs are to say.

    Raises:
        OSError: a file is missing, or cannot be written.
        RewriteError, ProofFailed: the graph is not one that can be served with certainty.
    """
    name = f"{part.name}.{part.type}"
    match part.task, part.type:
        case TaskName.CLIP, TypeName.VISUAL:
            return clip.generate_visual(source, name, staging, settings)
        case TaskName.CLIP, TypeName.TEXTUAL:
            return clip.generate_textual(source, name, staging, settings)
        case TaskName.FACES, TypeName.DETECTION:
            return faces.generate_detection(source, name, staging, settings)
        case TaskName.FACES, TypeName.RECOGNITION:
            return faces.generate_recognition(source, name, staging, settings)
        case TaskName.OCR, TypeName.DETECTION:
            return ocr.generate_detection(source, name, staging, settings)
        case TaskName.OCR, TypeName.RECOGNITION:
            return ocr.generate_recognition(source, name, staging, settings)
    raise ValueError(f"{part.task} has no part {part.type}")


ENCODERS: Mapping[tuple[TaskName, TypeName], Callable[[Path], Recipe]] = {
    (TaskName.CLIP, TypeName.VISUAL): clip.visual_recipe,
    (TaskName.CLIP, TypeName.TEXTUAL): clip.textual_recipe,
    (TaskName.FACES, TypeName.RECOGNITION): faces.recognition_recipe,
}
"""The parts that give vectors, and what the graphs in a model's folder can be tried with."""
