"""ResNet-50 on ImageNet for 100 epochs at 160 pixels, procedure A3 of "ResNet strikes back": the quick one.

    neocog train imagenet --recipe resnet_strikes_back_a3

Paper: Wightman, Touvron and Jégou 2021, "ResNet strikes back: an improved training procedure in timm",
arXiv:2110.00476, table 2.

It is A2 (`resnet_strikes_back_a2`) in a third of the epochs at a rate of 8e-3, trained at 160 pixels and measured at
224, without repeated images and without stochastic depth, and with RandAugment of strength 6, which is 18 of 30 here.
What differs from the paper is what differs in `resnet_strikes_back_a1`, and gradients are clipped to a norm of 1 as
there, of which table 2 lists nothing.

Published: 78.1 % top-1 at 224 pixels (table 2).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_strikes_back_a2
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    changes = {
        "epochs": 100,
        "optimizer.lr": 8e-3,
        "vary": {"image_size": ((0, 160),)},  # in training; `image_size` itself is that of the test
        "repeats": 1,
        "edits": {},
        "augment.policy_magnitude": 18,
    }
    return resnet_strikes_back_a2.recipe(facts).override(changes)
