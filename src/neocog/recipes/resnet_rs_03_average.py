"""ResNet-RS' ladder, step 3 of 10: the weights are averaged.

    neocog train imagenet --recipe resnet_rs_03_average

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

An exponential moving average with decay 0.9999, which grows to that as min(0.9999, (1 + step) / (10 + step)), as in
the authors' code.

All else is `resnet_rs_02_epochs`.

Published: 79.1 % top-1 of ImageNet's validation images, +0.3 (table 1).

Measured: 35.1 ± 0.9 % top-1 of CIFAR-10, +0.1 ± 0.3, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_02_epochs
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_02_epochs.recipe(facts).override({"average.decay": 0.9999})
