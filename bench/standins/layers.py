"""Layers with random weights: scaled so that values stay of the same size through any number of them."""

import math

import numpy as np
from numpy.typing import NDArray

from demo.models.graph import Graph

BIAS = 0.02
"""Deviation of biases: small, but not zero, which an optimiser could leave out."""


class Network(Graph):
    """A graph whose weights are drawn one after the other: the same for the same seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = np.random.default_rng(seed)

    def normal(self, *shape: int, deviation: float = BIAS, mean: float = 0) -> NDArray[np.float32]:
        values = self._random.standard_normal(shape, np.float32)
        values *= np.float32(deviation)
        values += np.float32(mean)
        return values

    def conv(
        self, x: str, inputs: int, outputs: int, side: int = 3, stride: int = 1, gain: float = math.sqrt(2)
    ) -> str:
        """A convolution with a bias, padded to keep the size; its deviation is `gain` times that of its input.

        Source: He et al. 2015, arXiv 1502.01852: the square root of 2 makes up for the half that a ReLU cuts off.
        """
        weight = self.normal(outputs, inputs, side, side, deviation=gain / math.sqrt(inputs * side**2))
        sides = {"kernel_shape": [side] * 2, "strides": [stride] * 2, "pads": [side // 2] * 4}
        return self.Conv(x, weight, self.normal(outputs), **sides)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """A product with a weight, and a bias."""
        weight = self.normal(inputs, outputs, deviation=1 / math.sqrt(inputs))
        return self.Add(self.normal(outputs), self.MatMul(x, weight))

    def layer_norm(self, x: str, width: int) -> str:
        scale, bias = self.normal(width, mean=1), self.normal(width)
        return self.LayerNormalization(x, scale, bias, axis=-1, epsilon=1e-5)

    def batch_norm(self, x: str, channels: int, to: str = "") -> str:
        """Of a trained network, with the statistics of its training."""
        scale, bias, mean = self.normal(channels, mean=1), self.normal(channels), self.normal(channels)
        variance = np.ones(channels, np.float32)
        return self.BatchNormalization(x, scale, bias, mean, variance, to=to, epsilon=1e-5)
