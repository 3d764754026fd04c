"""Small models with the interfaces of the families that Immich publishes, as the files of their repositories.

Every character of a text and every part of a picture moves the vector, and so does what is done to them before.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.support.graphs import FLOAT, Graph, attend, attention_tokens_first, causal_mask

Files = dict[str, bytes]

SIZE_PX = 48
PATCH_PX = 8
PATCHES = (SIZE_PX // PATCH_PX) ** 2
WIDTH = 24
HEADS = 3
BATCH = "batch"
TEXT_LENGTH = 77
SIGLIP_LENGTH = 64
PAD_ID = 1  # of XLM-Roberta and NLLB
START, END = "<|startoftext|>", "<|endoftext|>"
OPENAI = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
HALVES = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
_FAR = 16.0
"""Weights of embeddings are small in `Graph`; tokens shall be as far from each other as in trained models."""


def write(files: Files, folder: Path) -> None:
    """Lays a repository's files down, as they would be once fetched."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def open_clip(batch: int | str) -> Files:
    """As `torch.onnx.export` left them: floats in, the batch either 1 in shapes all over the graph, or variable."""
    return {
        **configuration(
            SIZE_PX, WIDTH, {"context_length": TEXT_LENGTH}, {**OPENAI, "resize_mode": "shortest"}
        ),
        **tokenizer_files(openai_tokenizer(lower=True), END),
        "visual/model.onnx": _visual(batch).SerializeToString(),
        "textual/model.onnx": _text_of_last(batch).SerializeToString(),
    }


def open_clip_with_weights_apart() -> Files:
    """An export of more than 2 GB: each weight is a file, named after it."""
    files = open_clip(1)
    return {
        **files,
        **_with_weights_apart("visual", _visual(1)),
        **_with_weights_apart("textual", _text_of_last(1)),
    }


def newer_open_clip() -> Files:
    """Of the newer exporter: uint8 pictures with the channels last, a named batch, one file of weights, other names."""
    one = "model.onnx.data"
    text = _text_of_last(BATCH, opset=20, output="text_embedding")
    return {
        **open_clip(BATCH),
        **_with_weights_apart("visual", _newer_visual(), one),
        **_with_weights_apart("textual", text, one),
    }


def siglip() -> Files:
    """All tokens look at each other, padding too, and the last one is the vector; texts are canonicalised.

    Its pictures are to be squashed. That they shall be scaled bilinearly is made up, to see the setting honoured.
    """
    text = {"context_length": SIGLIP_LENGTH, "tokenizer_kwargs": {"clean": "canonicalize"}}
    return {
        **configuration(
            SIZE_PX, WIDTH, text, {**HALVES, "resize_mode": "squash", "interpolation": "bilinear"}
        ),
        **tokenizer_files(
            byte_tokenizer(["<pad>", "</s>", "<unk>"], [], "$A </s>"), {"content": "</s>", "special": True}
        ),
        "visual/model.onnx": _visual(1).SerializeToString(),
        "textual/model.onnx": _text_of_padding().SerializeToString(),
    }


def xlm_roberta() -> Files:
    """OpenCLIP's: one input, of which the graph itself tells tokens from padding."""
    return {
        **configuration(SIZE_PX, WIDTH, {}, OPENAI),
        **tokenizer_files(byte_tokenizer(_ROBERTA, [], "<s> $A </s>"), "<pad>"),
        "textual/model.onnx": _text_with_own_mask().SerializeToString(),
    }


def multilingual_clip(elem_type: int) -> Files:
    """M-CLIP's: token ids and attention mask, of one type or another."""
    return {
        **configuration(SIZE_PX, WIDTH, {"context_length": TEXT_LENGTH}, OPENAI),
        **tokenizer_files(byte_tokenizer(_ROBERTA, [], "<s> $A </s>"), "<pad>"),
        "textual/model.onnx": _text_with_mask(elem_type).SerializeToString(),
    }


def nllb(languages: Sequence[str]) -> Files:
    """XLM-Roberta's way with a token for each language, of which the tokenizer itself puts one first."""
    tokenizer = byte_tokenizer([*_ROBERTA, *languages], [], f"{languages[0]} $A </s>")
    return {**xlm_roberta(), **tokenizer_files(tokenizer, "<pad>")}


def configuration(size_px: int, width: int, text: dict[str, Any], preprocess: dict[str, Any]) -> Files:
    config = {"embed_dim": width, "vision_cfg": {"image_size": size_px}, "text_cfg": text}
    common = {"size": [size_px, size_px], "mode": "RGB", "interpolation": "bicubic", "fill_color": 0}
    return {
        "config.json": _json(config),
        "visual/preprocess_cfg.json": _json({**common, **preprocess}),
    }


_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>")


def byte_tokenizer(
    first: Sequence[str], last: Sequence[str], template: str, *, lower: bool = False
) -> Tokenizer:
    """Every byte of a text is a token; special ones have the ids before and after those."""
    tokens = [*first, *sorted(pre_tokenizers.ByteLevel.alphabet()), *last]
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, []))
    tokenizer.add_special_tokens([*first, *last])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    used = [(token, ids[token]) for token in template.split() if token in ids]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    return tokenizer


def openai_tokenizer(*, lower: bool = False) -> Tokenizer:
    """It pads with the end mark, as CLIP's own does."""
    return byte_tokenizer([], [START, END], f"{START} $A {END}", lower=lower)


def tokenizer_files(tokenizer: Tokenizer, pad: str | dict[str, Any]) -> Files:
    return {
        "textual/tokenizer.json": tokenizer.to_str().encode(),
        "textual/tokenizer_config.json": _json({"pad_token": pad}),
    }


def _visual(batch: int | str) -> onnx.ModelProto:
    g = Graph()
    return _picture_tower(g, g.input("image", [batch, 3, SIZE_PX, SIZE_PX]), batch, "embedding")


def _newer_visual() -> onnx.ModelProto:
    g = Graph(opset=20)
    pixels = g.op("Cast", g.input("pixel_values", [BATCH, SIZE_PX, SIZE_PX, 3], TensorProto.UINT8), to=FLOAT)
    shares = g.op("Div", pixels, g.constant(np.array(255, np.float32)))
    centered = g.op("Sub", shares, g.constant(np.array(OPENAI["mean"], np.float32)))
    scaled = g.op("Div", centered, g.constant(np.array(OPENAI["std"], np.float32)))
    return _picture_tower(g, g.transpose(scaled, 0, 3, 1, 2), BATCH, "image_embedding")


def _picture_tower(g: Graph, image: str, batch: int | str, output: str) -> onnx.ModelProto:
    side = [PATCH_PX, PATCH_PX]
    patches = g.op("Conv", image, g.weight(WIDTH, 3, *side), strides=side, kernel_shape=side)
    x = g.transpose(g.reshape(patches, _size(batch), WIDTH, PATCHES), 0, 2, 1)
    x = g.op("Tanh", g.op("Add", x, g.weight(PATCHES, WIDTH)))
    x = _mix(g, x, batch, PATCHES)
    return _finish(g, g.reshape(x, _size(batch), PATCHES * WIDTH), PATCHES * WIDTH, batch, output)


def _text_of_last(batch: int | str, *, opset: int = 17, output: str = "embedding") -> onnx.ModelProto:
    """The vector of the largest token, which is the end of the text. A token looks at those ahead of it only."""
    g = Graph(opset)
    text = g.input("text", [batch, TEXT_LENGTH], TensorProto.INT32)
    x = _mix(g, _embed(g, text, TEXT_LENGTH), batch, TEXT_LENGTH, causal_mask(g, TEXT_LENGTH))
    end = g.op("Unsqueeze", g.op("ArgMax", text, axis=-1, keepdims=1), g.integers(-1))  # (n, 1, 1)
    there = g.op("GatherElements", x, g.op("Expand", end, g.integers(1, 1, WIDTH)), axis=1)
    return _finish(g, g.op("Squeeze", there, g.integers(1)), WIDTH, batch, output)


def _text_of_padding() -> onnx.ModelProto:
    g = Graph()
    text = g.input("text", [1, SIGLIP_LENGTH], TensorProto.INT32)
    x = _mix(g, _embed(g, text, SIGLIP_LENGTH), 1, SIGLIP_LENGTH)
    last = g.op("Gather", x, g.constant(np.array(SIGLIP_LENGTH - 1, np.int64)), axis=1)
    return _finish(g, last, WIDTH, 1, "embedding")


def _text_with_own_mask() -> onnx.ModelProto:
    """Positions are counted from the first token on, past those of padding, as XLM-Roberta does."""
    g = Graph()
    text = g.input("text", [1, TEXT_LENGTH], TensorProto.INT32)
    is_token = g.op("Not", g.op("Equal", text, g.constant(np.array(PAD_ID, np.int32))))
    mask = g.op("Cast", is_token, to=TensorProto.INT32)
    counted = g.op("Mul", g.op("CumSum", mask, g.constant(np.array(1, np.int64))), mask)
    places = g.op("Add", counted, g.constant(np.array(PAD_ID, np.int32)))
    x = g.op("Add", _embed(g, text), g.op("Gather", g.weight(TEXT_LENGTH + PAD_ID + 1, WIDTH), places))
    return _finish(g, _pool(g, x, mask), WIDTH, 1, "embedding")


def _text_with_mask(elem_type: int) -> onnx.ModelProto:
    g = Graph()
    ids = g.input("input_ids", [1, TEXT_LENGTH], elem_type)
    mask = g.input("attention_mask", [1, TEXT_LENGTH], elem_type)
    return _finish(g, _pool(g, _embed(g, ids, TEXT_LENGTH), mask), WIDTH, 1, "embedding")


def _embed(g: Graph, ids: str, length: int = 0) -> str:
    """Vectors of tokens, and of their positions where there is a length; ids over 300 do not occur."""
    x = g.op("Mul", g.op("Gather", g.weight(300, WIDTH), ids), g.constant(np.array(_FAR, np.float32)))
    return g.op("Add", x, g.weight(length, WIDTH)) if length else x


def _mix(g: Graph, x: str, batch: int | str, length: int, mask: str = "") -> str:
    """One layer of attention. What goes in is not added, so that every vector depends on all that it may look at."""
    if batch == 1:
        return attention_tokens_first(g, x, length, WIDTH, HEADS, mask)
    q, k, v = (g.linear(x, WIDTH, WIDTH) for _ in range(3))
    return attend(g, q, k, v, transposed=(0, 2, 1), mask=mask)


def _pool(g: Graph, x: str, mask: str) -> str:
    """One layer of attention that looks at no padding, and the mean of what is none."""
    weights = g.op("Unsqueeze", g.op("Cast", mask, to=FLOAT), g.integers(-1))  # (1, length, 1)
    hidden = g.op("Sub", weights, g.constant(np.array(1, np.float32)))
    bias = g.op("Mul", g.transpose(hidden, 0, 2, 1), g.constant(np.array(1e4, np.float32)))
    q, k, v = (g.linear(x, WIDTH, WIDTH) for _ in range(3))
    scores = g.op("Add", g.op("MatMul", q, g.transpose(k, 0, 2, 1)), bias)
    x = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    total = g.op("ReduceSum", g.op("Mul", x, weights), g.integers(1), keepdims=0)
    return g.op("Div", total, g.op("ReduceSum", weights, g.integers(1), keepdims=0))


def _finish(g: Graph, x: str, width: int, batch: int | str, output: str) -> onnx.ModelProto:
    g.op("LpNormalization", g.linear(x, width, WIDTH), axis=-1, p=2, output=output)
    g.output(output, [batch, WIDTH])
    return g.model()


def _size(batch: int | str) -> int:
    """In a Reshape, where 0 is the size that was."""
    return batch if isinstance(batch, int) else 0


def _with_weights_apart(half: str, model: onnx.ModelProto, location: str | None = None) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        onnx.save_model(
            model,
            Path(folder) / "model.onnx",
            save_as_external_data=True,
            all_tensors_to_one_file=location is not None,
            location=location,
            size_threshold=0,
        )
        return {f"{half}/{path.name}": path.read_bytes() for path in Path(folder).iterdir()}


def _json(content: object) -> bytes:
    return json.dumps(content).encode()
