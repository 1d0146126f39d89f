"""ResNet-RS' ladder, step 9 of 10: squeeze-and-excitation.

    neocog train imagenet --recipe resnet_rs_09_squeeze_excite

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

Each block's channels are weighed by what the whole image has of them (Hu et al. 2017), with a ratio of a quarter.

All else is `resnet_rs_08_weight_decay`.

Published: 82.9 % top-1 of ImageNet's validation images, +0.7 (table 1).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_rs_08_weight_decay
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return resnet_rs_08_weight_decay.recipe(facts).override({"edits.squeeze_excite": True})
