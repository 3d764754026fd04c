"""Normalisation of pictures, moved into the graph: uint8 RGB in, and the same numbers to the last bit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from adapter.preparation.graphs.file import RewriteError, inputs_of
from adapter.preparation.graphs.nodes import constant, rename_input, replace_nodes

PIXELS = "pixels"
_PREFIX = "pixels/"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True)
class Normalisation:
    """`(x / scale * factor - mean) / std` in float32, channel by channel; what is None is left out.

    Attributes:
        mean, std: three numbers, in the order of `channels`.
        channels: the order that the network was trained with; pictures are always given as RGB.
        size: height and width to pin, where the graph leaves them open and they shall be fixed.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] | None
    scale: float | None = 255.0
    factor: float | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    size: tuple[int, int] | None = None


def normalise(pixels_rgb: NDArray[np.uint8], how: Normalisation) -> NDArray[np.float32]:
    """What a network without a folded normalisation is fed with.

    Args:
        pixels_rgb: (n, height, width, 3), uint8, RGB.

    Returns:
        (n, 3, height, width), float32, channels in the network's order.
    """
    ordered = pixels_rgb[..., ::-1] if how.channels == "bgr" else pixels_rgb
    values = ordered.astype(np.float32)
    if how.scale is not None:
        values /= np.float32(how.scale)
    if how.factor is not None:
        values *= np.float32(how.factor)
    values -= np.array(how.mean, np.float32)
    if how.std is not None:
        values /= np.array(how.std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def takes_pixels(model: onnx.ModelProto) -> bool:
    """True for a newer export, which takes uint8 (n, height, width, 3) and normalises it by itself."""
    return image_input(model).type.tensor_type.elem_type == TensorProto.UINT8


def source_input(model: onnx.ModelProto, pixels_rgb: NDArray[np.uint8], how: Normalisation) -> NDArray[Any]:
    """What a graph as it was published is fed with for a picture (height, width, 3), uint8, RGB.

    Returns:
        (height, width, 3), uint8, where it takes pixels; else (3, height, width), normalised, of its input's type.
    """
    if takes_pixels(model):
        return pixels_rgb
    dtype = helper.tensor_dtype_to_np_dtype(image_input(model).type.tensor_type.elem_type)
    normalised: NDArray[Any] = normalise(pixels_rgb[np.newaxis], how)[0].astype(dtype)
    return normalised


def fold_pixels(model: onnx.ModelProto, how: Normalisation) -> onnx.ModelProto:
    """Replaces a picture input by `pixels`: uint8 (n, height, width, 3), RGB.

    The arithmetic is that of `normalise`, operation by operation, so the result is the same to the last bit.
    A graph that takes such pixels already has its input renamed only.

    Args:
        model: a graph with one input: float32 or float16 (n, 3, height, width), or uint8
            (n, height, width, 3). It is changed.

    Raises:
        RewriteError: the graph has another input, or a size that is not the one to pin.
    """
    image = image_input(model)
    pixels = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, _pixel_dims(image, how.size))
    model.graph.input.remove(image)
    model.graph.input.insert(0, pixels)
    _rename_input(model.graph, image)
    if image.type.tensor_type.elem_type == TensorProto.UINT8:
        nodes = [helper.make_node("Identity", [PIXELS], [image.name])]
    else:
        nodes = list(_normalising_nodes(image, how))
    replace_nodes(model.graph, [*nodes, *model.graph.node])
    return model


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    inputs = inputs_of(model)
    if len(inputs) != 1:
        raise RewriteError(f"a picture network has one input, this one {[value.name for value in inputs]}")
    tensor = inputs[0].type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]  # 0 where it is variable
    is_nchw = tensor.elem_type in _FLOATS and len(dims) == 4 and dims[1] in (0, 3)
    is_nhwc = tensor.elem_type == TensorProto.UINT8 and len(dims) == 4 and dims[3] in (0, 3)
    if not (is_nchw or is_nhwc):
        name = TensorProto.DataType.Name(tensor.elem_type)
        raise RewriteError(f"the input is neither float (n, 3, h, w) nor uint8 (n, h, w, 3): {name} {dims}")
    return inputs[0]


def _pixel_dims(image: onnx.ValueInfoProto, pinned: tuple[int, int] | None) -> list[int | str]:
    """The shape of `pixels`: a name where it is variable."""
    dims = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    batch, *own = dims[:3] if image.type.tensor_type.elem_type == TensorProto.UINT8 else (dims[0], *dims[2:])
    sides = [side or wanted for side, wanted in zip(own, pinned or own, strict=True)]
    if pinned and sides != list(pinned):
        raise RewriteError(f"the graph takes pictures of {own}, not {list(pinned)}")
    names = ("batch", "height", "width")
    return [size or name for size, name in zip((batch, *sides), names, strict=True)] + [3]


def _rename_input(graph: onnx.GraphProto, image: onnx.ValueInfoProto) -> None:
    """Makes the name `pixels` free, where the network has an input of that name."""
    if image.name == PIXELS:
        image.name = _PREFIX + "network"
        rename_input(graph.node, PIXELS, image.name)


def _normalising_nodes(image: onnx.ValueInfoProto, how: Normalisation) -> Iterator[onnx.NodeProto]:
    """From `pixels` to the network's own input."""
    yield helper.make_node("Transpose", [PIXELS], [here := _PREFIX + "planes"], perm=[0, 3, 1, 2])
    if how.channels == "bgr":
        yield constant(_PREFIX + "order", [2, 1, 0])
        yield helper.make_node("Gather", [here, _PREFIX + "order"], [here := _PREFIX + "bgr"], axis=1)
    yield helper.make_node("Cast", [here], [here := _PREFIX + "float"], to=TensorProto.FLOAT)
    for operator, name, value in (
        ("Div", "scale", how.scale),
        ("Mul", "factor", how.factor),
        ("Sub", "mean", how.mean),
        ("Div", "std", how.std),
    ):
        if value is not None:
            shape = () if isinstance(value, float) else (3, 1, 1)
            yield constant(_PREFIX + name, np.array(value, np.float32).reshape(shape))
            yield helper.make_node(operator, [here, _PREFIX + name], [here := f"{_PREFIX}{operator}_{name}"])
    yield helper.make_node("Cast", [here], [image.name], to=image.type.tensor_type.elem_type)
