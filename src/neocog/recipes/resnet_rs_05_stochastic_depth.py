"""ResNet-RS' ladder, step 5 of 10: blocks are left out at random.

    neocog train imagenet --recipe resnet_rs_05_stochastic_depth

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

The last stage's blocks are left out for a tenth of the images while training, those before them less often. The paper
prints no rate beside table 1; this is that of the authors' code for this depth and size.

All else is `resnet_rs_04_label_smoothing`.

Published: 80.6 % top-1 of ImageNet's validation images, +0.2 (table 1).

Measured: 34.1 ± 0.8 % top-1 of CIFAR-10, -0.2 ± 0.2, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_04_label_smoothing
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_04_label_smoothing.recipe(facts).override({"edits.stochastic_depth": 0.1})
