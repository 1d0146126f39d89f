"""ResNet-RS' ladder, step 4 of 10: label smoothing.

    neocog train imagenet --recipe resnet_rs_04_label_smoothing

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

A tenth of each target is spread over all classes.

All else is `resnet_rs_03_average`.

Published: 80.4 % top-1 of ImageNet's validation images, +1.3 (table 1).

Measured: 34.3 ± 0.6 % top-1 of CIFAR-10, -0.8 ± 0.3, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_03_average
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_03_average.recipe(facts).override({"loss.label_smoothing": 0.1})
