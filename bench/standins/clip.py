"""`stand-in-ViT-B-32`: both halves of OpenAI's ViT-B/32, of the same sizes, with random weights.

The operators are those of the published exports, in their order and for one item at a time. The vectors are those
of no trained model: they tell pictures and texts apart, and mean nothing.

Source: Radford et al. 2021, arXiv 2103.00020; `open_clip/transformer.py` and torch's `MultiheadAttention` as
`torch.onnx.export` traces them.
"""

import math
import string
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from tokenizers import Regex, normalizers

from adapter.protocol import GRAPH
from bench.standins.layers import Network
from demo.models.clip import CONTEXT_LENGTH, END, SIZE_PX, START, UNKNOWN, tokenizer, write_settings

NAME = "stand-in-ViT-B-32"
DIMENSIONS = 512
PATCH_PX = 32
VOCABULARY = 49408
LETTERS_OF_A_WORD = 3
SHORTEN = normalizers.Replace(Regex(rf"(?<=\w{{{LETTERS_OF_A_WORD}}})\w+"), "")


@dataclass(frozen=True)
class Transformer:
    """Sizes of one half; `tokens` is the length of its sequence."""

    tokens: int
    width: int
    heads: int
    layers: int = 12


VISUAL = Transformer(tokens=1 + (SIZE_PX // PATCH_PX) ** 2, width=768, heads=12)
TEXTUAL = Transformer(tokens=CONTEXT_LENGTH, width=512, heads=8)


def write(folder: Path) -> None:
    """Writes the model into `folder`, in the layout of Immich's cache; the same bytes every time."""
    config = {
        "embed_dim": DIMENSIONS,
        "vision_cfg": {"image_size": SIZE_PX, "patch_size": PATCH_PX},
        "text_cfg": {"context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY},
    }
    write_settings(folder, config, tokenizer(vocabulary(), SHORTEN), pad_token=END)
    (folder / "visual" / GRAPH).write_bytes(visual_model().SerializeToString(deterministic=True))
    (folder / "textual" / GRAPH).write_bytes(textual_model().SerializeToString(deterministic=True))


def vocabulary() -> dict[str, int]:
    """Ids of all words of up to three letters and digits, and of the marks around a text, which are CLIP's own.

    Longer words are known by their first three, so that a text has a token a word: nearly as many as CLIP's has.
    """
    letters = string.ascii_lowercase + string.digits
    lengths = range(1, LETTERS_OF_A_WORD + 1)
    words = ["".join(word) for length in lengths for word in product(letters, repeat=length)]
    ids = {word: i for i, word in enumerate((UNKNOWN, *words))}
    return ids | {START: VOCABULARY - 2, END: VOCABULARY - 1}


def visual_model() -> onnx.ModelProto:
    """`image` (1, 3, 224, 224), normalised → `embedding` (1, 512), of length 1."""
    net, width = Network(seed=1), VISUAL.width
    weight = net.normal(width, 3, PATCH_PX, PATCH_PX, deviation=1 / math.sqrt(3 * PATCH_PX**2))
    patches = net.Conv("image", weight, kernel_shape=[PATCH_PX] * 2, strides=[PATCH_PX] * 2)
    x = net.Transpose(net.Reshape(patches, [1, width, -1]), perm=[0, 2, 1])
    x = net.Concat(net.normal(1, 1, width, deviation=1), x, axis=1)
    x = net.layer_norm(net.Add(x, net.normal(VISUAL.tokens, width, deviation=1)), width)
    x = net.layer_norm(_transform(net, x, VISUAL), width)
    _project(net, net.Gather(x, np.array(0), axis=1), width)
    return net.model(NAME, {"image": [1, 3, SIZE_PX, SIZE_PX]}, {"embedding": [1, DIMENSIONS]})


def textual_model() -> onnx.ModelProto:
    """`text` int32 (1, 77) → `embedding` (1, 512), of length 1: the vector at the end of the text."""
    net, width = Network(seed=2), TEXTUAL.width
    x = net.Gather(net.normal(VOCABULARY, width, deviation=1), "text")
    x = net.Add(x, net.normal(TEXTUAL.tokens, width, deviation=1))
    causal = np.triu(np.full((1, 1, TEXTUAL.tokens, TEXTUAL.tokens), -np.inf, np.float32), 1)
    x = net.layer_norm(_transform(net, x, TEXTUAL, causal), width)
    end = net.ArgMax("text", axis=-1, keepdims=0)  # its id is the highest
    own_row = net.Add(end, [0])
    _project(net, net.Gather(net.Flatten(x, axis=2), own_row, axis=0), width)
    return net.model(NAME, {"text": [1, CONTEXT_LENGTH]}, {"embedding": [1, DIMENSIONS]})


def _transform(net: Network, x: str, size: Transformer, mask: NDArray[np.float32] | None = None) -> str:
    """(1, tokens, width) → the same. `mask` is added to the scores of every attention."""
    for _ in range(size.layers):
        x = net.Add(x, _attend(net, net.layer_norm(x, size.width), size, mask))
        x = net.Add(x, _feed_forward(net, net.layer_norm(x, size.width), size.width))
    return x


def _attend(net: Network, x: str, size: Transformer, mask: NDArray[np.float32] | None) -> str:
    tokens, width, heads = size.tokens, size.width, size.heads
    x = net.linear(net.Transpose(x, perm=[1, 0, 2]), width, 3 * width)
    x = net.Unsqueeze(net.Reshape(x, [tokens, 1, 3, width]), [0])
    x = net.Squeeze(net.Transpose(x, perm=[3, 1, 2, 0, 4]), [-2])
    q, k, v = (_split_heads(net, net.Gather(x, np.array(i), axis=0), size) for i in range(3))
    half_scale = (width // heads) ** -0.25  # on either side
    k = net.Mul(net.Transpose(k, perm=[0, 1, 3, 2]), half_scale)
    scores = net.MatMul(net.Mul(q, half_scale), k)
    scores = scores if mask is None else net.Add(scores, mask)
    x = net.MatMul(net.Softmax(scores, axis=-1), v)  # (1, heads, tokens, width / heads)
    x = net.Reshape(net.Transpose(x, perm=[2, 0, 1, 3]), [tokens, width])
    weight = net.normal(width, width, deviation=1 / math.sqrt(width))
    x = net.Gemm(x, weight, net.normal(width), transB=1)
    return net.Transpose(net.Reshape(x, [tokens, 1, width]), perm=[1, 0, 2])


def _split_heads(net: Network, x: str, size: Transformer) -> str:
    """(tokens, 1, width) → (1, heads, tokens, width / heads)."""
    each = size.width // size.heads
    x = net.Reshape(x, [size.tokens, size.heads, each])
    x = net.Transpose(x, perm=[1, 0, 2])
    return net.Reshape(x, [1, size.heads, size.tokens, each])


def _feed_forward(net: Network, x: str, width: int) -> str:
    """Two layers with OpenAI's approximation of GELU between them."""
    x = net.linear(x, width, 4 * width)
    x = net.Mul(x, net.Sigmoid(net.Mul(x, (1.702))))
    return net.linear(x, 4 * width, width)


def _project(net: Network, x: str, width: int) -> None:
    """(1, width) → the output `embedding` (1, 512), of length 1."""
    x = net.MatMul(x, net.normal(width, DIMENSIONS, deviation=1 / math.sqrt(width)))
    length = net.Clip(net.ReduceL2(x, axes=[-1], keepdims=1), (1e-12))
    net.Div(x, net.Expand(length, net.Shape(x)), to="embedding")
