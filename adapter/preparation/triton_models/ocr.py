"""OCR models: what Triton is told of a PP-OCR detector and recogniser, and their graphs' recipes."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from adapter.preparation.config import Model, Step, Tensor
from adapter.preparation.graphs import samples
from adapter.preparation.graphs.file import RewriteError, read
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.recogniser import CERTAINTIES, CLASSES, WIDTHS, write_recognizer
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from adapter.preparation.triton_models.gpu import Plan
from adapter.preparation.triton_models.shared import (
    IMAGE,
    IMAGE_SIZE,
    PICTURE,
    Generated,
    generated,
    graph_file,
    graph_model,
    same,
    version_folder,
)
from adapter.protocol import GRAPH
from adapter.settings import PreparationSettings
from transforms.ocr_canvas import canvases
from transforms.ocr_reading import read_characters
from transforms.ocr_recognition import LINE_HEIGHT_PX

SAMPLE_SIZE = 160
SAMPLE_TEXTS = ("Hello", "17:30 Uhr", "no")
CHARSET = "charset.txt"
NORMALISATION = Normalisation((1.0,) * 3, None, scale=None, factor=1 / 127.5, channels="bgr")

GPU_ASPECTS = (Fraction(1), Fraction(4, 3), Fraction(3, 2), Fraction(16, 9), Fraction(2))
GPU_WIDTHS = (224, 320, 448, 640, 1280, 2048)
"""The few shapes of canvases and lines on a GPU, where every shape has its price. A CPU takes each as it comes."""

DETECTOR_PLAN = Plan(most=2, working_mib=600, sizes=(1, 2), tf32=True)
RECOGNISER_PLAN = Plan(
    most=32, working_mib=500, sizes=(1, 2, 4, 8), shapes=[[width] for width in GPU_WIDTHS], tf32=True
)

CANVAS = Tensor(PIXELS, "UINT8", (-1, -1, 3), "height, width, RGB; sides are multiples of 32")
CONTENT_SIZE = Tensor("content_size", "INT32", (2,), "height, width of what the picture takes up of it")
MAP = Tensor(
    "map", "FP32", (1, -1, -1), "one, height, width of the canvas; how likely it is text", ragged=True
)
MIN_SCORE = Tensor("min_score", "FP32", (1,))
MAX_RESOLUTION = Tensor("max_resolution", "INT32", (1,), "of the short side, in pixels")
FOUND = (
    Tensor(
        "boxes", "FP32", (-1, 4, 2), "line, corner clockwise from top left, (x, y) in pixels of the picture"
    ),
    Tensor("scores", "FP32", (-1,), "line"),
    Tensor("lines", "UINT8", (LINE_HEIGHT_PX, -1, 3), "height, the lines side by side, RGB"),
    Tensor("widths", "INT32", (-1,), "line"),
    Tensor("run_widths", "INT32", (-1,), "line; how wide it is to be when it is recognised"),
)

LINE = Tensor("lines", "UINT8", (LINE_HEIGHT_PX, -1, 3), "height, width, RGB; padded as it may be")
WIDTH = Tensor(WIDTHS, "INT32", (1,), "what of it is the line")
STEPS = (
    Tensor(CLASSES, "INT64", (-1,), "step", ragged=True),
    Tensor(CERTAINTIES, "FP32", (-1,), "step", ragged=True),
)
READ = (Tensor("text", "STRING", (1,), "UTF-8"), Tensor("score", "FP32", (1,)))


def generate_detection(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The steps `preprocess`, `detector` and `postprocess`, and the ensemble over them."""
    preprocess, detector, postprocess = (
        f"{name}.{step}" for step in ("preprocess", "detector", "postprocess")
    )
    pages = [{PIXELS: samples.written(text, SAMPLE_SIZE, SAMPLE_SIZE)} for text in SAMPLE_TEXTS]
    recipe = Recipe(pages, NORMALISATION, moves_factors=True)
    graph = rewrite(source / "detection" / GRAPH, graph_file(staging, detector), recipe)
    output = _map_of(graph.outputs, skip=0 if graph.batchable else 1)
    mapped = replace(output, name=MAP.name, ragged=True)
    on_gpu = settings.device.is_gpu
    models = [
        Model(
            preprocess,
            "image, max_resolution ─[decode, resize, put on a canvas]→ pixels, content_size, picture, image_size",
            [IMAGE, MAX_RESOLUTION],
            [CANVAS, CONTENT_SIZE, PICTURE, IMAGE_SIZE],
            backend="ocr_preprocess",
            parameters={
                "max_pixels": str(settings.max_pixels),
                "canvas_aspects": _listed(GPU_ASPECTS if on_gpu else ()),
            },
        ),
        graph_model(
            detector,
            "pixels ─[normalise, detect]→ map",
            [CANVAS],
            [output],
            settings,
            graph_file(staging, detector),
            replace(DETECTOR_PLAN, shapes=canvases(settings.ocr_max_resolution, GPU_ASPECTS)),
            cpu_batch=1,
        ),
        Model(
            postprocess,
            "map, content_size, picture, min_score ─[find lines, crop, scale]→\n"
            "  boxes, scores, lines, widths, run_widths",
            [mapped, CONTENT_SIZE, PICTURE, MIN_SCORE],
            FOUND,
            backend="ocr_postprocess",
            parameters={"widths": _listed(GPU_WIDTHS if on_gpu else ())},
        ),
        Model(
            name,
            "image ─[preprocess]→ pixels ─[detector]→ map ─[postprocess]→ boxes, scores, lines, widths, run_widths\n"
            "            ├────────→ picture, content_size ───────┘\n"
            "            └────────→ image_size",
            [IMAGE, MIN_SCORE, MAX_RESOLUTION],
            [*FOUND, IMAGE_SIZE],
            steps=[
                Step(
                    preprocess, same(IMAGE, MAX_RESOLUTION), same(CANVAS, CONTENT_SIZE, PICTURE, IMAGE_SIZE)
                ),
                Step(detector, same(CANVAS), {output.name: MAP.name}),
                Step(postprocess, same(MAP, CONTENT_SIZE, PICTURE, MIN_SCORE), same(*FOUND)),
            ],
        ),
    ]
    return generated(models, settings, graph)


def generate_recognition(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The steps `recognizer` and `ctc`, and the ensemble over them. An item is a line, of whatever picture.

    The width of a run decides its texts, so only lines of one width are run as one batch. Triton hands over lines of
    any widths together.
    """
    recognizer, ctc = (f"{name}.{step}" for step in ("recognizer", "ctc"))
    published = source / "recognition" / GRAPH
    classes = write_recognizer(published, graph_file(staging, recognizer), NORMALISATION)
    charset = _charset(published)
    try:
        characters = read_characters(charset, classes)
    except ValueError as error:
        raise RewriteError(str(error)) from error
    (version_folder(staging, ctc) / CHARSET).write_bytes(charset.encode())
    models = [
        graph_model(
            recognizer,
            "pixels, widths ─[normalise, mask, recognise, likeliest class of each step]→ classes, certainties",
            [replace(LINE, name=PIXELS, ragged=True), WIDTH],
            STEPS,
            settings,
            graph_file(staging, recognizer),
            RECOGNISER_PLAN,
        ),
        Model(
            ctc,
            "classes, certainties ─[merge repeats, drop blanks]→ text, score",
            STEPS,
            READ,
            backend="ocr_ctc",
            parameters={"classes": str(len(characters))},
        ),
        Model(
            name,
            "lines, widths ─[recognizer]→ classes, certainties ─[ctc]→ text, score",
            [LINE, WIDTH],
            READ,
            steps=[
                Step(recognizer, {PIXELS: LINE.name, **same(WIDTH)}, same(*STEPS)),
                Step(ctc, same(*STEPS), same(*READ)),
            ],
        ),
    ]
    return generated(models, settings)


def _map_of(outputs: Sequence[Tensor], skip: int) -> Tensor:
    """The detector's only output, with or without an axis for its only channel.

    Args:
        skip: 1 where its dims hold the batch axis.
    """
    if len(outputs) != 1 or len(outputs[0].dims) - skip not in (2, 3):
        raise RewriteError(f"the detector gives not one map but {outputs}")
    (output,) = outputs
    return replace(MAP, name=output.name, type=output.type, dims=MAP.dims[skip - len(output.dims) :])


def _listed(numbers: Sequence[int | Fraction]) -> str:
    """A parameter that lists numbers."""
    return ",".join(map(str, numbers))


def _charset(graph: Path) -> str:
    """The recogniser's characters, one a line: from its metadata, or from the file beside it."""
    metadata: dict[str, str] = {entry.key: entry.value for entry in read(graph).metadata_props}
    if "character" in metadata:
        return metadata["character"]
    beside = graph.parent / CHARSET
    if not beside.is_file():
        raise RewriteError(f"the recogniser has no characters: neither in its metadata nor in {beside}")
    return beside.read_bytes().decode()
