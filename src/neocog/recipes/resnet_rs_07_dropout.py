"""ResNet-RS' ladder, step 7 of 10: dropout before the last layer.

    neocog train imagenet --recipe resnet_rs_07_dropout

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

A quarter of the pooled features is left out while training. It does harm until weight decay is less, the next step.

All else is `resnet_rs_06_randaugment`.

Published: 80.7 % top-1 of ImageNet's validation images, -0.3 (table 1).

Measured: 26.5 ± 0.5 % top-1 of CIFAR-10, -0.8 ± 0.6, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_06_randaugment
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_06_randaugment.recipe(facts).override({"edits.dropout": 0.25})
