"""ResNet-RS' ladder, step 2 of 10: 350 epochs in place of 90.

    neocog train imagenet --recipe resnet_rs_02_epochs

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

Longer alone does harm: the paper says that it pays only once the regularisation of the steps to come is there.

All else is `resnet_rs_01_cosine`.

Published: 78.8 % top-1 of ImageNet's validation images, -0.5 (table 1).

Measured: 34.9 ± 0.6 % top-1 of CIFAR-10, +8.7 ± 0.8, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_01_cosine
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_01_cosine.recipe(facts).override({"epochs": 350})
