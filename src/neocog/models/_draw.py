"""How several papers draw the weights of a layer that they set the biases of to zero."""

from __future__ import annotations

from torch import nn


def draw_normal(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    """Draw weights from a normal distribution with standard deviation `std`; biases, where there are any, are 0."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def draw_glorot(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw weights uniformly with variance 2 / (fan_in + fan_out); biases, where there are any, are 0.

    Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", equation 16.
    """
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
