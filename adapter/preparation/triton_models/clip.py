"""CLIP models: what Triton is told of their two parts, and the recipes for their graphs."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from adapter.preparation.config import Model, Step, Tensor
from adapter.preparation.graphs import samples
from adapter.preparation.graphs.engine import Trial
from adapter.preparation.graphs.file import RewriteError, declared_inputs, read
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.precision import reduce_precision, same_directions, sample_count
from adapter.preparation.graphs.proof import Sample
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from adapter.preparation.graphs.shortening import Shortening, Text, lengths_up_to
from adapter.preparation.resizing import SHORTEST, resize_of
from adapter.preparation.triton_models.gpu import Plan, is_convolutional
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
from adapter.setting_types import ClipResize
from adapter.settings import PreparationSettings
from transforms.images import ResizeMode
from transforms.resample import Interpolation

CONTEXT_LENGTH = 77
"""Of a model that does not say."""

GPU_BATCH = 32
GPU_SIZES = (1, 4, 16, 32)
"""Of pictures in one run, where it has many convolutions."""

TEXT = Tensor("text", "STRING", (1,), "UTF-8")
LANGUAGE = Tensor("language", "STRING", (1,), "a code such as de or pt-BR; empty if not known")


def generate_visual(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The picture part: the steps `preprocess` and `encoder`, and the ensemble over them."""
    config = _read_json(source / "visual/preprocess_cfg.json")
    size = _size(config)
    encoder, preprocess = f"{name}.encoder", f"{name}.preprocess"
    target = graph_file(staging, encoder)
    full = rewrite(source / "visual" / GRAPH, target, visual_recipe(source))
    pictures = visual_recipe(source, sample_count(settings.precision)).samples
    graph = reduce_precision(full, target, pictures, settings.precision)
    output = graph.embedding
    pixels = Tensor(PIXELS, "UINT8", (size, size, 3), "height, width, RGB")
    embedding = Tensor("embedding", "FP32", output.dims)
    models = [
        Model(
            preprocess,
            "image ─[decode, resize, crop]→ pixels, image_size",
            [IMAGE],
            [pixels, IMAGE_SIZE],
            backend="clip_preprocess",
            parameters={
                "size": str(size),
                **_resize(config, settings),
                "max_pixels": str(settings.max_pixels),
            },
        ),
        graph_model(
            encoder,
            "pixels ─[normalise, encode]→ embedding",
            [pixels],
            [output],
            settings,
            target,
            _picture_plan(target),
            trial=Trial(pictures, graph.batchable, same_directions(output.name)),
            one_shape=True,
            half=graph.half,
        ),
        Model(
            name,
            "image ─[preprocess]→ pixels ─[encoder]→ embedding\n               └───────────────────→ image_size",
            [IMAGE],
            [embedding, IMAGE_SIZE],
            steps=[
                Step(preprocess, same(IMAGE), same(pixels, IMAGE_SIZE)),
                Step(encoder, same(pixels), {output.name: "embedding"}),
            ],
        ),
    ]
    return generated(models, settings, graph)


def generate_textual(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The text part: the steps `tokenize` and `encoder`, and the ensemble over them."""
    text_config = _text_config(source)
    pad_token, length = _pad_token(source), _length(text_config)
    encoder, tokenize = f"{name}.encoder", f"{name}.tokenize"
    wiring = _wiring(source / "textual" / GRAPH)
    target = graph_file(staging, encoder)
    full = rewrite(source / "textual" / GRAPH, target, textual_recipe(source))
    texts = textual_recipe(source, sample_count(settings.precision)).samples
    graph = reduce_precision(full, target, texts, settings.precision)
    shutil.copyfile(source / "textual/tokenizer.json", version_folder(staging, tokenize) / "tokenizer.json")
    output = graph.embedding
    cuts = lengths_up_to(length) if graph.shortened else [length]
    dims = (-1 if graph.shortened else length,)
    encoder_inputs = [Tensor(tensor.name, tensor.type, dims, "length") for tensor in wiring.values()]
    tokens = [Tensor(public, tensor.type, dims, "length") for public, tensor in wiring.items()]
    models = [
        Model(
            tokenize,
            f"text, language ─[clean, tokenise]→ {', '.join(wiring)}",
            [TEXT, LANGUAGE],
            tokens,
            backend="clip_tokenize",
            parameters={
                "pad_token": pad_token,
                "context_length": str(length),
                **({"buckets": ",".join(map(str, cuts[:-1]))} if graph.shortened else {}),
                "canonicalize": flag(text_config.get("tokenizer_kwargs", {}).get("clean") == "canonicalize"),
                "language_prefix": flag(name.startswith("nllb")),
            },
        ),
        graph_model(
            encoder,
            f"{', '.join(wiring)} ─[encode]→ embedding",
            encoder_inputs,
            [output],
            settings,
            target,
            Plan(GPU_BATCH, working_mib=150, shapes=[[cut] for cut in cuts] if graph.shortened else ()),
            trial=Trial(_cut(texts, cuts), graph.batchable, same_directions(output.name)),
            one_shape=True,
            half=graph.half,
            urgent=True,
        ),
        Model(
            name,
            f"text, language ─[tokenize]→ {', '.join(wiring)} ─[encoder]→ embedding",
            [TEXT, LANGUAGE],
            [Tensor("embedding", "FP32", output.dims)],
            steps=[
                Step(tokenize, same(TEXT, LANGUAGE), same(*tokens)),
                Step(encoder, {t.name: public for public, t in wiring.items()}, {output.name: "embedding"}),
            ],
        ),
    ]
    return generated(models, settings, graph)


def visual_recipe(source: Path, count: int = samples.COUNT) -> Recipe:
    """For the graph of pictures in a model's folder, with as many samples."""
    config = _read_json(source / "visual/preprocess_cfg.json")
    size = _size(config)
    pictures = [{PIXELS: picture} for picture in samples.pictures(size, size, count)]
    return Recipe(pictures, Normalisation(tuple(config["mean"]), tuple(config["std"]), size=(size, size)))


def textual_recipe(source: Path, count: int = samples.COUNT) -> Recipe:
    """For the graph of texts in a model's folder, with as many samples."""
    wiring = _wiring(source / "textual" / GRAPH)
    texts = _texts(source, wiring, count)
    return Recipe([text.feed for text in texts[:count]], shortening=Shortening(texts, wiring["tokens"].name))


def _picture_plan(graph: Path) -> Plan:
    return Plan(GPU_BATCH, 250, sizes=GPU_SIZES if is_convolutional(graph) else ())


def _resize(config: Mapping[str, Any], settings: PreparationSettings) -> dict[str, str]:
    """As the model's file says, or by the short side for every model."""
    if settings.clip_resize is ClipResize.SHORTEST:
        return SHORTEST
    resize = resize_of(config)
    for key, known in (("resize_mode", ResizeMode), ("interpolation", Interpolation)):
        if resize[key] not in set(known):
            raise RewriteError(f"{key} {resize[key]!r} of preprocess_cfg.json is none of {', '.join(known)}")
    return resize


def _wiring(graph: Path) -> dict[str, Tensor]:
    """Which input of the text graph takes the token ids and, where there is one, the attention mask."""
    inputs = declared_inputs(read(graph))
    masks = [tensor for tensor in inputs if "mask" in tensor.name]
    ids = [tensor for tensor in inputs if tensor not in masks]
    if len(ids) != 1 or len(masks) > 1 or any(t.type not in ("INT32", "INT64") for t in inputs):
        raise RewriteError(f"the inputs are neither token ids nor ids and a mask: {inputs}")
    return {"tokens": ids[0], **({"attention_mask": masks[0]} if masks else {})}


def _texts(source: Path, wiring: Mapping[str, Tensor], count: int) -> list[Text]:
    """Texts to prove the graph with, by its own tokenizer: `count` short ones, then one that fills each length."""
    length, pad_token = _length(_text_config(source)), _pad_token(source)
    tokenizer = Tokenizer.from_file(str(source / "textual/tokenizer.json"))
    tokenizer.enable_padding(length=length, pad_token=pad_token, pad_id=tokenizer.token_to_id(pad_token))
    short = [(text, length) for text in samples.TEXTS[:count]]
    filling = [(samples.LONG_TEXT, cut) for cut in lengths_up_to(length)]
    return [_text(tokenizer, text, cut, wiring) for text, cut in (*short, *filling)]


def _text(tokenizer: Tokenizer, text: str, cut: int, wiring: Mapping[str, Tensor]) -> Text:
    tokenizer.enable_truncation(max_length=cut)
    encoding = tokenizer.encode(text)
    columns = {"tokens": encoding.ids, "attention_mask": encoding.attention_mask}
    feed = {
        tensor.name: np.array(columns[public], np.int32 if tensor.type == "INT32" else np.int64)
        for public, tensor in wiring.items()
    }
    return Text(feed, sum(encoding.attention_mask))


def _cut(texts: Sequence[Sample], cuts: Sequence[int]) -> list[Sample]:
    """The texts at each length that they are padded to."""
    return [{name: ids[:cut] for name, ids in text.items()} for cut in cuts for text in texts]


def _size(config: Mapping[str, Any]) -> int:
    return int(config["size"][0] if isinstance(config["size"], list) else config["size"])


def _text_config(source: Path) -> dict[str, Any]:
    config: dict[str, Any] = _read_json(source / "config.json").get("text_cfg", {})
    return config


def _length(text_config: Mapping[str, Any]) -> int:
    return int(text_config.get("context_length", CONTEXT_LENGTH))


def _pad_token(source: Path) -> str:
    token = _read_json(source / "textual/tokenizer_config.json")["pad_token"]
    return str(token["content"] if isinstance(token, dict) else token)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
