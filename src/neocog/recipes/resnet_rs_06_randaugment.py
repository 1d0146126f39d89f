"""ResNet-RS' ladder, step 6 of 10: RandAugment.

    neocog train imagenet --recipe resnet_rs_06_randaugment

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

Two operations an image. The authors' code has strength 15 for this size, where 10 is AutoAugment's strongest; that
would be 45 of torchvision's 30, so its strongest stands for it. The two lists of operations differ too.

All else is `resnet_rs_05_stochastic_depth`.

Published: 81.0 % top-1 of ImageNet's validation images, +0.4 (table 1).

Measured: 27.3 ± 0.3 % top-1 of CIFAR-10, -6.8 ± 0.5, three seeds, by benchmarks/resnet_rs_ladder.py: a network of three
blocks, 5,000 training images, 10 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_05_stochastic_depth
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_05_stochastic_depth.recipe(facts).override(
        {"augment.policy": "randaugment", "augment.policy_magnitude": 30}
    )
