"""The recogniser's graph with both its ends moved into it: lines come as uint8, and each step as its likeliest class.

A line is a sixteenth of what it would be as float32 and padded, and of the probabilities of 18,000 characters that a
step has, the greedy reading needs the largest: a few hundred bytes between Triton's processes, not megabytes.

widths ─────────────────────────────────┐
pixels ─[planes, BGR, normalise]→ lines ─[mask]→ network ─[likeliest class]→ classes, certainties
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from adapter.preparation.graphs import samples
from adapter.preparation.graphs.affine import normalise_channels
from adapter.preparation.graphs.batching import make_batch_dynamic
from adapter.preparation.graphs.file import RewriteError, opset_of, read, write
from adapter.preparation.graphs.nodes import constant, rename_input, replace_nodes
from adapter.preparation.graphs.pixels import (
    PIXELS,
    Normalisation,
    fold_pixels,
    image_input,
    source_input,
    takes_pixels,
)
from adapter.preparation.graphs.proof import (
    CONTRAST,
    SINGLE_TOLERANCE,
    Answer,
    Array,
    ProofFailed,
    Session,
    difference,
    require_same,
)
from transforms.ocr_recognition import LINE_HEIGHT_PX

WIDTHS = "widths"
CLASSES = "classes"
CERTAINTIES = "certainties"

GRAY = 127
"""What the newer exports are padded with; the older ones with zeros, which no level of a pixel becomes."""
NEGLIGIBLE = -16.0
"""Logits so far below the largest do not count in the newer exports' softmax."""

_READ = {"ctc_indices", "ctc_confidence"}
_LOGITS = "ctc_logits"
_AXES_AS_INPUT = {"ReduceMax": 18, "ReduceSum": 13}
_SAMPLES = {"Hello world 42": 320, "no smoking": 297, "17:30 Uhr": 240}
"""Texts, and widths of their lines."""


def write_recognizer(source: Path, target: Path, how: Normalisation) -> int | None:
    """Prepares and proves the graph of a recogniser.

    Its inputs become `pixels`, uint8 (n, 48, width, 3), RGB, and `widths`, int32 (n, 1): what of that is the line,
    whatever lies behind it. Its outputs become `classes`, int64 (n, steps), and `certainties`, float32 (n, steps): the
    likeliest class of each step, and its probability.

    Args:
        how: lines are normalised, where the graph does not do so itself.

    Returns:
        The number of classes, where the source tells.

    Raises:
        RewriteError, ProofFailed: it is no recogniser of lines, or reads others in the new form.
    """
    model = normalise_channels(read(source))
    lines = [samples.written(text, LINE_HEIGHT_PX, width) for text, width in _SAMPLES.items()]
    answers = Session(source).alone([_as_source_takes_it(line, model, how) for line in lines])
    expected = [_likeliest(answer) for answer in answers]
    _require_contrast(expected)
    write(_choose_likeliest(_fold_lines(make_batch_dynamic(model), how)), target, source)
    feeds = [{PIXELS: _padded(line, 1, 200), WIDTHS: np.array([line.shape[1]], np.int32)} for line in lines]
    rewritten = Session(target)
    require_same(expected, rewritten.alone(feeds), "alone")
    require_same(expected, rewritten.together(feeds), f"in a batch of {len(feeds)}")
    return _classes(answers[0])


def _fold_lines(model: onnx.ModelProto, how: Normalisation) -> onnx.ModelProto:
    """Replaces the input by `pixels` and `widths`."""
    image = image_input(model)
    masked = "widths/masked"
    rename_input(model.graph.node, image.name, masked)
    nodes = _masking_nodes(image, masked, newer=takes_pixels(model))
    replace_nodes(model.graph, [*nodes, *model.graph.node])
    folded = fold_pixels(model, how)
    folded.graph.input.append(helper.make_tensor_value_info(WIDTHS, TensorProto.INT32, ["batch", 1]))
    return folded


def _masking_nodes(image: onnx.ValueInfoProto, masked: str, *, newer: bool) -> list[onnx.NodeProto]:
    """From the input `image` to `masked`, which holds the padding's level beyond each line's width."""
    axis, fill = (2, GRAY) if newer else (3, 0)
    kind = helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type)
    across = [-1 if place == axis else 1 for place in range(4)]
    w = "widths/"
    return [
        *(constant(w + "axis", axis), constant(w + "zero", 0), constant(w + "one", 1)),
        constant(w + "across", across),
        constant(w + "down", [-1, 1, 1, 1]),
        constant(w + "fill", np.array(fill, kind)),
        helper.make_node("Shape", [image.name], [w + "shape"]),
        helper.make_node("Gather", [w + "shape", w + "axis"], [w + "longest"]),
        helper.make_node("Range", [w + "zero", w + "longest", w + "one"], [w + "columns"]),
        helper.make_node("Reshape", [w + "columns", w + "across"], [w + "places"]),
        helper.make_node("Cast", [WIDTHS], [w + "long"], to=TensorProto.INT64),
        helper.make_node("Reshape", [w + "long", w + "down"], [w + "ends"]),
        helper.make_node("Less", [w + "places", w + "ends"], [w + "inside"]),
        helper.make_node("Where", [w + "inside", image.name, w + "fill"], [masked]),
    ]


def _choose_likeliest(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces the outputs by the likeliest class of each step and its probability."""
    graph, names = model.graph, [output.name for output in model.graph.output]
    if set(names) == _READ:
        graph.node.append(helper.make_node("Cast", ["ctc_indices"], [CLASSES], to=TensorProto.INT64))
        graph.node.append(helper.make_node("Cast", ["ctc_confidence"], [CERTAINTIES], to=TensorProto.FLOAT))
    else:
        (output,) = names
        graph.node.append(helper.make_node("ArgMax", [output], [CLASSES], axis=2, keepdims=0))
        choose = _softmax_of_winner if output == _LOGITS else _largest
        graph.node.extend([*choose(output, opset_of(model))])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(CLASSES, TensorProto.INT64, ["batch", "steps"]))
    graph.output.append(helper.make_tensor_value_info(CERTAINTIES, TensorProto.FLOAT, ["batch", "steps"]))
    return model


def _largest(output: str, opset: int) -> list[onnx.NodeProto]:
    return [
        *_reduce("ReduceMax", output, "certainties/largest", opset, keepdims=0),
        helper.make_node("Cast", ["certainties/largest"], [CERTAINTIES], to=TensorProto.FLOAT),
    ]


def _softmax_of_winner(output: str, opset: int) -> list[onnx.NodeProto]:
    c = "certainties/"
    return [
        helper.make_node("Cast", [output], [c + "logits"], to=TensorProto.FLOAT),
        *_reduce("ReduceMax", c + "logits", c + "largest", opset, keepdims=1),
        helper.make_node("Sub", [c + "logits", c + "largest"], [c + "ahead"]),
        helper.make_node("Exp", [c + "ahead"], [c + "terms"]),
        constant(c + "negligible", np.float32(NEGLIGIBLE)),
        constant(c + "nothing", np.float32(0)),
        helper.make_node("Less", [c + "ahead", c + "negligible"], [c + "left_out"]),
        helper.make_node("Where", [c + "left_out", c + "nothing", c + "terms"], [c + "counted"]),
        *_reduce("ReduceSum", c + "counted", c + "sum", opset, keepdims=0),
        helper.make_node("Reciprocal", [c + "sum"], [CERTAINTIES]),
    ]


def _reduce(operator: str, source: str, target: str, opset: int, *, keepdims: int) -> list[onnx.NodeProto]:
    """Along the classes."""
    if opset < _AXES_AS_INPUT[operator]:
        return [helper.make_node(operator, [source], [target], axes=[2], keepdims=keepdims)]
    axes = constant(f"{target}/axes", [2])
    return [axes, helper.make_node(operator, [source, f"{target}/axes"], [target], keepdims=keepdims)]


def _likeliest(answer: Answer) -> Answer:
    """What the new outputs are to be, of the source's."""
    if answer.keys() == _READ:
        return {
            CLASSES: answer["ctc_indices"].astype(np.int64),
            CERTAINTIES: answer["ctc_confidence"].astype(np.float32),
        }
    name, values = _only(answer)
    largest = values.max(axis=2)
    if name == _LOGITS:
        ahead = values.astype(np.float32) - largest[..., np.newaxis]
        largest = 1 / np.where(ahead < NEGLIGIBLE, 0, np.exp(ahead)).sum(axis=2)
    return {CLASSES: values.argmax(axis=2), CERTAINTIES: largest.astype(np.float32)}


def _classes(answer: Answer) -> int | None:
    return None if answer.keys() == _READ else int(_only(answer)[1].shape[2])


def _require_contrast(answers: Sequence[Answer]) -> None:
    """Else a line that is another's would not be seen."""
    for one, other in combinations(answers, 2):
        same = np.array_equal(one[CLASSES], other[CLASSES])
        if same and difference(one[CERTAINTIES], other[CERTAINTIES]) < CONTRAST * SINGLE_TOLERANCE:
            raise ProofFailed("the recogniser reads the same in different lines")


def _only(answer: Answer) -> tuple[str, Array]:
    """The output of a recogniser that leaves the choice to others."""
    if len(answer) != 1 or next(iter(answer.values())).ndim != 3:
        shapes = {name: array.shape for name, array in answer.items()}
        raise RewriteError(f"the recogniser gives neither steps by classes nor {sorted(_READ)}: {shapes}")
    return next(iter(answer.items()))


def _as_source_takes_it(line: Array, model: onnx.ModelProto, how: Normalisation) -> dict[str, Array]:
    taken = source_input(model, line, how)
    padded = _padded(taken, 1, GRAY) if takes_pixels(model) else _padded(taken, 2, 0)
    return {image_input(model).name: padded}


def _padded(line: Array, axis: int, level: int) -> Array:
    room = max(_SAMPLES.values()) - line.shape[axis]
    return np.pad(line, [(0, room if place == axis else 0) for place in range(3)], constant_values=level)
