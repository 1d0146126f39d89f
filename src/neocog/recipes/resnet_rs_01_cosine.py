"""ResNet-RS' ladder, step 1 of 10: the rate falls along a cosine.

    neocog train imagenet --recipe resnet_rs_01_cosine

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

The cosine begins where the warm-up ends and goes to 0.

All else is `resnet_rs_00_baseline`.

Published: 79.3 % top-1 of ImageNet's validation images, +0.3 (table 1).

Measured: 26.2 ± 0.5 % top-1 of CIFAR-10, +1.1 ± 0.1, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 3 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_00_baseline
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_00_baseline.recipe(facts).override({"schedule.name": "cosine", "schedule.milestones": ()})
