"""`demo-clip`: a CLIP model made by code in seconds, in which colour words and coloured pictures meet.

It has the interface of a real OpenCLIP export and takes its place where none can be downloaded: in the demo
and in tests. It knows colours and brightness, and nothing else.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from adapter.preparation.catalog import DEMO
from adapter.protocol import TaskName
from demo.models.graph import Dims, Graph
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
    config = {
        "embed_dim": len(SHADES),
        "vision_cfg": {"image_size": SIZE_PX},
        "text_cfg": {"context_length": CONTEXT_LENGTH, "vocab_size": len(ids)},
    }
    write_settings(folder, config, tokenizer(ids), PAD)
    (folder / "visual/model.onnx").write_bytes(_visual_model().SerializeToString(deterministic=True))
    (folder / "textual/model.onnx").write_bytes(_textual_model(words).SerializeToString(deterministic=True))


def write_settings(folder: Path, config: dict[str, object], tokenizer: Tokenizer, pad_token: str) -> None:
    """Writes everything into `folder` but the graphs, for pictures as OpenAI's models want them."""
    pixels = {
        "size": SIZE_PX, "mode": "RGB", "mean": MEAN, "std": STD, "interpolation": "bicubic",
        "resize_mode": "shortest", "fill_color": 0,
    }  # fmt: skip
    tokens = {
        "bos_token": START, "eos_token": END, "pad_token": pad_token, "unk_token": UNKNOWN,
        "model_max_length": CONTEXT_LENGTH, "tokenizer_class": "PreTrainedTokenizerFast",
    }  # fmt: skip
    files = {"config": config, "visual/preprocess_cfg": pixels, "textual/tokenizer_config": tokens}
    for name, content in files.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "textual/tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


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
    graph = Graph()
    rgb = graph.Add(graph.Mul("image", np.reshape(STD, (1, 3, 1, 1))), np.reshape(MEAN, (1, 3, 1, 1)))
    cells = graph.AveragePool(rgb, kernel_shape=[CELL_PX] * 2, strides=[CELL_PX] * 2)
    shades = graph.Softmax(graph.Conv(cells, weight[..., None, None], bias), axis=1)
    graph.Sqrt(graph.ReduceMean(shades, axes=[2, 3], keepdims=0), to="embedding")
    return _model(graph, image=[3, SIZE_PX, SIZE_PX])


def _textual_model(words: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Add up what the words prefer, and turn it into a histogram as that of a picture would be.

    Words that are not known prefer nothing; without preferences all shades are equal.

    `text` (batch, 77) → `embedding` (batch, shades).
    """
    table = np.stack([*np.zeros((len(SPECIAL), len(SHADES)), np.float32), *words.values()])
    graph = Graph()
    preferences = graph.Gather(table, "text")  # (batch, 77, shades)
    together = graph.ReduceSum(preferences, [1], keepdims=0)
    graph.Sqrt(graph.Softmax(together, axis=1), to="embedding")
    return _model(graph, text=[CONTEXT_LENGTH])


def _model(graph: Graph, **dims: list[int]) -> onnx.ModelProto:
    inputs: dict[str, Dims] = {name: ["batch", *sizes] for name, sizes in dims.items()}
    model = graph.model(NAME, inputs, {"embedding": ["batch", len(SHADES)]})
    onnx.checker.check_model(model, full_check=True)
    return model
