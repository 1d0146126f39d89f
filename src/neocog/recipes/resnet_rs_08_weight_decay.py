"""ResNet-RS' ladder, step 8 of 10: less weight decay.

    neocog train imagenet --recipe resnet_rs_08_weight_decay

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

4e-5 in place of 1e-4: with so much else that regularises, less of it is better (table 2).

All else is `resnet_rs_07_dropout`.

Published: 82.2 % top-1 of ImageNet's validation images, +1.5 (table 1).

Measured: 26.6 ± 0.3 % top-1 of CIFAR-10, +0.1 ± 0.2, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_07_dropout
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_07_dropout.recipe(facts).override({"optimizer.weight_decay": 4e-5})
