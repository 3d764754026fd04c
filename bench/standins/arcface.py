"""ArcFace's IResNet-50 with random weights, as in `w600k_r50.onnx` of buffalo_l: 43.6 million weights.

Normalisations behind a convolution are folded into it, as exporters do. Its vectors tell faces apart by their
pixels, not by who they are of.

Source: `iresnet50` of insightface's recognition/arcface_torch/backbones/iresnet.py.
"""

import math

import onnx

from bench.standins.layers import Network
from demo.models.face_graphs import CROP_PX, DIMENSIONS

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
"""Channels and blocks; the first block of each halves the picture's sides."""

BRANCH_GAIN = 0.3
"""Of the second convolution in a block, so that the sum over 24 blocks does not grow out of hand."""


def model(name: str) -> onnx.ModelProto:
    """`input.1` (n, 3, 112, 112), RGB, (x - 127.5) / 127.5 → `683` (n, 512)."""
    net = Network(seed=3)
    channels = STAGES[0][0]
    x = _prelu(net, net.conv("input.1", 3, channels), channels)
    for planes, blocks in STAGES:
        for block in range(blocks):
            x = _block(net, x, channels, planes, stride=1 if block else 2)
            channels = planes
    side = CROP_PX // 2 ** len(STAGES)
    features = net.Flatten(net.batch_norm(x, channels), axis=1)
    inputs = channels * side**2
    weight = net.normal(DIMENSIONS, inputs, deviation=1 / math.sqrt(inputs))
    vector = net.Gemm(features, weight, net.normal(DIMENSIONS), transB=1)
    net.batch_norm(vector, DIMENSIONS, to="683")
    return net.model(
        name, {"input.1": ["None", 3, CROP_PX, CROP_PX]}, {"683": ["None", DIMENSIONS]}, opset=11
    )


def _block(net: Network, x: str, channels: int, planes: int, stride: int) -> str:
    """Two convolutions, added to their input; what halves the sides has a convolution on that way too."""
    branch = net.conv(net.batch_norm(x, channels), channels, planes)
    branch = net.conv(_prelu(net, branch, planes), planes, planes, stride=stride, gain=BRANCH_GAIN)
    shortcut = x if stride == 1 else net.conv(x, channels, planes, side=1, stride=stride, gain=1)
    return net.Add(branch, shortcut)


def _prelu(net: Network, x: str, channels: int) -> str:
    return net.PRelu(x, net.normal(channels, 1, 1, mean=0.25))
