"""How the models of each task and type are prepared."""

from collections.abc import Mapping

from adapter.preparation.repository import Family
from adapter.preparation.triton_models import clip, faces, ocr
from adapter.protocol import TaskName, TypeName

FAMILIES: Mapping[tuple[TaskName, TypeName], Family] = {
    (TaskName.CLIP, TypeName.VISUAL): clip.VISUAL,
    (TaskName.CLIP, TypeName.TEXTUAL): clip.TEXTUAL,
    (TaskName.FACES, TypeName.DETECTION): faces.DETECTION_FAMILY,
    (TaskName.FACES, TypeName.RECOGNITION): faces.RECOGNITION_FAMILY,
    (TaskName.OCR, TypeName.DETECTION): ocr.DETECTION_FAMILY,
    (TaskName.OCR, TypeName.RECOGNITION): ocr.RECOGNITION_FAMILY,
}
