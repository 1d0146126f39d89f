"""ResNet-RS' ladder, step 10 of 10: ResNet-D's stem and shortcuts.

    neocog train imagenet --recipe resnet_rs_10_resnet_d

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

Three 3x3 convolutions begin the network, and shortcuts average before they project (He et al. 2018).

All else is `resnet_rs_09_squeeze_excite`.

Published: 83.4 % top-1 of ImageNet's validation images, +0.5 (table 1).

Measured: 28.1 ± 1.5 % top-1 of CIFAR-10, +2.0 ± 1.0, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_09_squeeze_excite
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_09_squeeze_excite.recipe(facts).override({"edits.resnet_d": True})
