"""OCR models: what Triton is told of a PP-OCR detector and recogniser, and their graphs' recipes."""

from dataclasses import replace
from pathlib import Path

from adapter.preparation.config import Model, Step, Tensor
from adapter.preparation.graphs import samples
from adapter.preparation.graphs.file import RewriteError, read
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.recogniser import CERTAINTIES, CLASSES, write_recognizer
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from adapter.preparation.triton_models.gpu import Plan
from adapter.preparation.triton_models.shared import (
    IMAGE,
    IMAGE_SIZE,
    Generated,
    flag,
    generated,
    graph_file,
    graph_model,
    same,
    version_folder,
)
from adapter.protocol import GRAPH
from adapter.settings import PreparationSettings
from transforms.ocr_detection import LEVEL_SCALE, MEAN_LEVEL
from transforms.ocr_recognition import LINE_HEIGHT_PX, read_characters

SAMPLE_SIZE = 160
CHARSET = "charset.txt"
NORMALISATION = Normalisation((MEAN_LEVEL,) * 3, (LEVEL_SCALE,) * 3, scale=None, channels="bgr")

DETECTOR_PLAN = Plan(most=4, working_mib=700, sizes=(1, 4), tf32=True)
RECOGNISER_PLAN = Plan(most=8, working_mib=500, sizes=(1, 2, 4, 8), tf32=True)

CANVAS = Tensor(PIXELS, "UINT8", (-1, -1, 3), "height, width, RGB; sides are multiples of 32")
CANVAS_SIZE = Tensor("canvas_size", "INT32", (2,), "height, width of what the picture takes up of it")
PICTURE = Tensor("picture", "UINT8", (-1, -1, 3), "height, width, RGB", ragged=True)
MAP = Tensor(
    "map", "FP32", (1, -1, -1), "one, height, width of the canvas; how likely it is text", ragged=True
)
MIN_SCORE = Tensor("min_score", "FP32", (1,))
MAX_RESOLUTION = Tensor("max_resolution", "INT32", (1,), "of the short side, in pixels")
SCORE_MODE = Tensor("score_mode", "STRING", (1,), "fast or slow")
CROPS = Tensor("crops", "UINT8", (-1,), "the lines' pixels end to end, each height x width x RGB")
CROP_SIZES = Tensor("crop_sizes", "INT32", (-1, 2), "line, (height, width)")
LINES = (
    Tensor(
        "boxes", "FP32", (-1, 4, 2), "line, corner clockwise from top left, (x, y) in pixels of the picture"
    ),
    Tensor("scores", "FP32", (-1,), "line"),
    CROPS,
    CROP_SIZES,
    Tensor("groups", "INT32", (-1,), "line; which are to be recognised together"),
)

BATCH = Tensor("lines", "FP32", (-1, 3, LINE_HEIGHT_PX, -1), "line, BGR, height, width")
STEPS = (
    Tensor(CLASSES, "INT64", (-1, -1), "line, step"),
    Tensor(CERTAINTIES, "FP32", (-1, -1), "line, step"),
)
TEXTS = (Tensor("text", "STRING", (-1,), "line; UTF-8"), Tensor("score", "FP32", (-1,), "line"))


def generate_detection(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The steps `preprocess`, `detector` and `postprocess`, and the ensemble over them."""
    preprocess, detector, postprocess = (
        f"{name}.{step}" for step in ("preprocess", "detector", "postprocess")
    )
    recipe = Recipe(
        [{PIXELS: picture} for picture in samples.pictures(SAMPLE_SIZE, SAMPLE_SIZE)], NORMALISATION
    )
    graph = rewrite(source / "detection" / GRAPH, graph_file(staging, detector), recipe)
    if len(graph.outputs) != 1:
        raise RewriteError(f"the detector gives not one map but {graph.outputs}")
    output = graph.outputs[0].name
    models = [
        Model(
            preprocess,
            "image, max_resolution ─[decode, resize, pad]→ pixels, canvas_size, picture, image_size",
            [IMAGE, MAX_RESOLUTION],
            [CANVAS, CANVAS_SIZE, PICTURE, IMAGE_SIZE],
            backend="ocr_preprocess",
            parameters={
                "max_pixels": str(settings.max_pixels),
                "buckets": flag(False),
            },
        ),
        graph_model(
            detector,
            "pixels ─[normalise, detect]→ map",
            [CANVAS],
            [replace(MAP, name=output)],
            settings,
            graph_file(staging, detector),
            DETECTOR_PLAN,
            cpu_batch=1,
        ),
        Model(
            postprocess,
            "map, canvas_size, picture, min_score, score_mode ─[find lines, crop, group]→ boxes, scores, crops, groups",
            [MAP, CANVAS_SIZE, PICTURE, MIN_SCORE, SCORE_MODE],
            LINES,
            backend="ocr_postprocess",
        ),
        Model(
            name,
            "image ─[preprocess]→ pixels ─[detector]→ map ─[postprocess]→ boxes, scores, crops, groups\n"
            "            ├────────→ picture, canvas_size ────────┘\n"
            "            └────────→ image_size",
            [IMAGE, MIN_SCORE, MAX_RESOLUTION, SCORE_MODE],
            [*LINES, IMAGE_SIZE],
            steps=[
                Step(preprocess, same(IMAGE, MAX_RESOLUTION), same(CANVAS, CANVAS_SIZE, PICTURE, IMAGE_SIZE)),
                Step(detector, same(CANVAS), {output: MAP.name}),
                Step(postprocess, same(MAP, CANVAS_SIZE, PICTURE, MIN_SCORE, SCORE_MODE), same(*LINES)),
            ],
        ),
    ]
    return generated(models, settings, graph)


def generate_recognition(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The steps `lines`, `recognizer` and `ctc`, and the ensemble over them. A request is a group of lines.

    Without Triton's batching: the width of a group decides its text, so groups are never joined.
    """
    lines, recognizer, ctc = (f"{name}.{step}" for step in ("lines", "recognizer", "ctc"))
    published = source / "recognition" / GRAPH
    entry, classes = write_recognizer(published, graph_file(staging, recognizer))
    charset = _charset(published)
    try:
        read_characters(charset, classes)
    except ValueError as error:
        raise RewriteError(str(error)) from error
    (version_folder(staging, ctc) / CHARSET).write_bytes(charset.encode())
    models = [
        Model(
            lines,
            "crops, crop_sizes ─[unpack, resize, normalise, pad]→ lines",
            [CROPS, CROP_SIZES],
            [BATCH],
            backend="ocr_lines",
            parameters={"buckets": flag(False)},
        ),
        graph_model(
            recognizer,
            "lines ─[recognise, likeliest class of each step]→ classes, certainties",
            [replace(BATCH, name=entry)],
            STEPS,
            settings,
            graph_file(staging, recognizer),
            RECOGNISER_PLAN,
            apart=True,
        ),
        Model(
            ctc,
            "classes, certainties ─[merge repeats, drop blanks]→ text, score",
            STEPS,
            TEXTS,
            backend="ocr_ctc",
            parameters={"classes": str(classes)},
        ),
        Model(
            name,
            "crops, crop_sizes ─[lines]→ lines ─[recognizer]→ classes, certainties ─[ctc]→ text, score",
            [CROPS, CROP_SIZES],
            TEXTS,
            steps=[
                Step(lines, same(CROPS, CROP_SIZES), same(BATCH)),
                Step(recognizer, {entry: BATCH.name}, same(*STEPS)),
                Step(ctc, same(*STEPS), same(*TEXTS)),
            ],
        ),
    ]
    return Generated([replace(model, max_batch_size=0) for model in models])


def _charset(graph: Path) -> str:
    """The recogniser's characters, one a line: from its metadata, or from the file beside it."""
    metadata: dict[str, str] = {entry.key: entry.value for entry in read(graph).metadata_props}
    if "character" in metadata:
        return metadata["character"]
    beside = graph.parent / CHARSET
    if not beside.is_file():
        raise RewriteError(f"the recogniser has no characters: neither in its metadata nor in {beside}")
    return beside.read_bytes().decode()
