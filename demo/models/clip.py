"""`demo-clip`: a CLIP model made by code in seconds, in which colour words and coloured pictures meet.

It has the interface of a real OpenCLIP export and takes its place where none can be downloaded: in the demo
and in tests. It knows colours and brightness, and nothing else.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from adapter.preparation.catalog import DEMO
from adapter.protocol import TaskName
from demo.models.words import SHADES, word_vectors

NAME = DEMO[TaskName.CLIP]
SIZE_PX = 224
CONTEXT_LENGTH = 77
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PAD, START, END, UNKNOWN = SPECIAL = ("<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|unknown|>")

CELL_PX = 4
"""Pictures are averaged over cells of this side before their colours are named."""

SHARPNESS = 90.0
"""How strictly a colour belongs to the nearest shade, per squared distance (1 is black to white)."""

TO_OPPONENT = np.array([[0.299, 0.587, 0.114], [-0.253, -0.497, 0.75], [1.05, -0.88, -0.17]], np.float32)
"""RGB to lightness, blue against yellow, red against green: distances there are nearer to what eyes see."""


def build(folder: Path) -> None:
    """Writes the model into `folder`, in the layout of Immich's cache; the same bytes every time."""
    words = word_vectors()
    ids = {word: i for i, word in enumerate((*SPECIAL, *words))}  # first the special ones
    write_settings(folder, _config(len(ids)), tokenizer(ids), PAD)
    (folder / "visual/model.onnx").write_bytes(_visual_model().SerializeToString(deterministic=True))
    (folder / "textual/model.onnx").write_bytes(_textual_model(words).SerializeToString(deterministic=True))


def write_settings(folder: Path, config: dict[str, object], tokenizer: Tokenizer, pad_token: str) -> None:
    """Writes everything into `folder` but the graphs, for pictures as OpenAI's models want them."""
    visual, textual = folder / "visual", folder / "textual"
    visual.mkdir(parents=True)
    textual.mkdir()
    _write_json(folder / "config.json", config)
    _write_json(visual / "preprocess_cfg.json", _preprocess_config())
    _write_json(textual / "tokenizer_config.json", _tokenizer_config(pad_token))
    (textual / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _config(vocabulary: int) -> dict[str, object]:
    return {
        "embed_dim": len(SHADES),
        "vision_cfg": {"image_size": SIZE_PX},
        "text_cfg": {"context_length": CONTEXT_LENGTH, "vocab_size": vocabulary},
    }


def _preprocess_config() -> dict[str, object]:
    return {
        "size": SIZE_PX,
        "mode": "RGB",
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    }


def _tokenizer_config(pad_token: str) -> dict[str, object]:
    tokens = {"bos_token": START, "eos_token": END, "pad_token": pad_token, "unk_token": UNKNOWN}
    return {**tokens, "model_max_length": CONTEXT_LENGTH, "tokenizer_class": "PreTrainedTokenizerFast"}


def tokenizer(vocabulary: dict[str, int], *shortening: normalizers.Normalizer) -> Tokenizer:
    """One id a word, between `START` and `END`. `shortening` is done to words in lower case."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.add_special_tokens([token for token in SPECIAL if token in vocabulary])
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), *shortening])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(token, vocabulary[token]) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return tokenizer


def _visual_model() -> onnx.ModelProto:
    """Name the colour of each cell of the picture, softly, and count the names.

    The vector is the square root of this histogram: its length is 1, and a cosine compares all bars, not
    only the highest.

    `image` (batch, 3, 224, 224), normalised → `embedding` (batch, shades).
    """
    opponent = np.array([shade.rgb for shade in SHADES], np.float32) / 255 @ TO_OPPONENT.T  # (shades, 3)
    # Softmax of -sharpness * |color - shade|²; the part that all shades have in common is left out.
    weight = 2 * SHARPNESS * opponent @ TO_OPPONENT
    bias = -SHARPNESS * (opponent**2).sum(axis=1)
    constants = {
        "std": np.array(STD, np.float32).reshape(1, 3, 1, 1),
        "mean": np.array(MEAN, np.float32).reshape(1, 3, 1, 1),
        "weight": weight.reshape(len(SHADES), 3, 1, 1),
        "bias": bias,
    }
    nodes = [
        helper.make_node("Mul", ["image", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["rgb"]),
        helper.make_node(
            "AveragePool", ["rgb"], ["cells"], kernel_shape=[CELL_PX] * 2, strides=[CELL_PX] * 2
        ),
        helper.make_node("Conv", ["cells", "weight", "bias"], ["nearness"]),
        helper.make_node("Softmax", ["nearness"], ["shades"], axis=1),
        helper.make_node("ReduceMean", ["shades"], ["histogram"], axes=[2, 3], keepdims=0),
        helper.make_node("Sqrt", ["histogram"], ["embedding"]),
    ]
    return _model("image", TensorProto.FLOAT, [3, SIZE_PX, SIZE_PX], nodes, constants)


def _textual_model(words: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Add up what the words prefer, and turn it into a histogram as that of a picture would be.

    Words that are not known prefer nothing; without preferences all shades are equal.

    `text` (batch, 77) → `embedding` (batch, shades).
    """
    table = np.concatenate(
        [np.zeros((len(SPECIAL), len(SHADES)), np.float32), *(v[None] for v in words.values())]
    )
    constants = {"table": table, "tokens": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Gather", ["table", "text"], ["preferences"]),  # (batch, 77, shades)
        helper.make_node("ReduceSum", ["preferences", "tokens"], ["together"], keepdims=0),
        helper.make_node("Softmax", ["together"], ["histogram"], axis=1),
        helper.make_node("Sqrt", ["histogram"], ["embedding"]),
    ]
    return _model("text", TensorProto.INT32, [CONTEXT_LENGTH], nodes, constants)


def _model(
    name: str,
    kind: int,
    dims: list[int],
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[np.generic]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info(name, kind, ["batch", *dims])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", len(SHADES)])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name=NAME, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model
