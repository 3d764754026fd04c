"""SCRFD-10G with random weights, as in `det_10g.onnx` of buffalo_l, which finds the drawn faces of `demo-face`.

Random weights find nothing, and a benchmark needs group photos. So the heads are those of `demo-face`, to which
the network's own are added so faintly that they decide nothing: it finds what `demo-face` finds, and costs what
SCRFD-10G costs, and `demo-face` on top of it (one eleventh, measured on one core).

Source: Guo et al. 2021, arXiv 2105.04714; insightface's detection/scrfd/configs/scrfd/scrfd_10g_bnkps.py, and
`ResNetV1e`, `PAFPN` and `SCRFDHead` beside it. Normalisations are folded into the convolutions.
"""

from collections.abc import Sequence

import numpy as np
import onnx

from bench.standins.layers import Network
from demo.models.face_graphs import ANCHORS, HEADS, OUTPUTS, Maps, add_heads, add_maps

STAGES = ((56, 3), (88, 4), (88, 2), (224, 3))
"""Channels and blocks; all but the first halve the picture's sides."""

PYRAMID = 56
HEAD = 80
FAINT = 1e-6
"""What the network's own heads count for."""


def model(name: str) -> onnx.ModelProto:
    """`input.1` (1, 3, h, w), RGB, (x - 127.5) / 128 → nine heads, for sides of 640."""
    net = Network(seed=4)
    levels = _pyramid(net, _backbone(net, "input.1"))
    for level, drawn, names in zip(levels, add_maps(net, "input.1"), OUTPUTS, strict=True):
        logits, boxes, key_points = (
            _joined(net, *maps) for maps in zip(drawn, _maps(net, level), strict=True)
        )
        add_heads(net, (logits, boxes, key_points), names)
    return net.model(name, {"input.1": [1, 3, "?", "?"]}, HEADS, opset=11)


def _backbone(net: Network, x: str) -> list[str]:
    """Features at strides 8, 16 and 32."""
    channels = STAGES[0][0]
    x = _conv_relu(net, x, 3, channels // 2, stride=2)
    x = _conv_relu(net, x, channels // 2, channels // 2)
    x = _conv_relu(net, x, channels // 2, channels)
    x = net.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2])
    features = []
    for stage, (planes, blocks) in enumerate(STAGES):
        for block in range(blocks):
            x = _block(net, x, channels, planes, stride=2 if stage and not block else 1)
            channels = planes
        features.append(x)
    return features[1:]


def _block(net: Network, x: str, channels: int, planes: int, stride: int) -> str:
    branch = net.conv(_conv_relu(net, x, channels, planes, stride), planes, planes, gain=0.5)
    if stride > 1:
        x = net.AveragePool(x, kernel_shape=[stride] * 2, strides=[stride] * 2, ceil_mode=1)
        x = net.conv(x, channels, planes, side=1, gain=1)
    return net.Relu(net.Add(branch, x))


def _pyramid(net: Network, features: Sequence[str]) -> list[str]:
    """A path aggregation network: from the coarsest level to the finest, and back."""
    channels = [planes for planes, _ in STAGES[1:]]
    sides = [net.conv(x, c, PYRAMID, side=1, gain=1) for x, c in zip(features, channels, strict=True)]
    for fine in (1, 0):
        sides[fine] = net.Add(sides[fine], _enlarged(net, sides[fine + 1], like=sides[fine]))
    first, *levels = (net.conv(x, PYRAMID, PYRAMID, gain=1) for x in sides)
    inner = [first]
    for level in levels:
        inner.append(net.Add(level, net.conv(inner[-1], PYRAMID, PYRAMID, stride=2, gain=1)))
    return [first, *(net.conv(x, PYRAMID, PYRAMID, gain=1) for x in inner[1:])]


def _enlarged(net: Network, x: str, like: str) -> str:
    """Brought to the height and width of another, each cell repeated."""
    head = net.Slice(net.Shape(x), [0], [2], [0])
    sides = net.Slice(net.Shape(like), [2], [4], [0])
    sizes = net.Concat(head, sides, axis=0)
    unused = np.zeros(0, np.float32)
    ways = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
    return net.Resize(x, unused, unused, sizes, **ways)


def _maps(net: Network, x: str) -> Maps:
    """The network's own scores, boxes and key points of one stride."""
    for inputs in (PYRAMID, HEAD, HEAD):
        x = _conv_relu(net, x, inputs, HEAD)
    logits, boxes, key_points = (net.conv(x, HEAD, ANCHORS * width, gain=1) for width in (1, 4, 10))
    return logits, net.Mul(boxes, net.normal(1, mean=1)), key_points


def _joined(net: Network, drawn: str, own: str) -> str:
    return net.Add(drawn, net.Mul(own, FAINT))


def _conv_relu(net: Network, x: str, inputs: int, outputs: int, stride: int = 1) -> str:
    return net.Relu(net.conv(x, inputs, outputs, stride=stride))
