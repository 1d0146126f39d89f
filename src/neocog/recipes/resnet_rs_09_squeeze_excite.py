"""ResNet-RS' ladder, step 9 of 10: squeeze-and-excitation.

    neocog train imagenet --recipe resnet_rs_09_squeeze_excite

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

Each block's channels are weighed by what the whole image has of them (Hu et al. 2017), with a ratio of a quarter.

All else is `resnet_rs_08_weight_decay`.

Published: 82.9 % top-1 of ImageNet's validation images, +0.7 (table 1).

Measured: 26.2 ± 0.5 % top-1 of CIFAR-10, -0.4 ± 0.8, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_08_weight_decay
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_08_weight_decay.recipe(facts).override({"edits.squeeze_excite": True})
