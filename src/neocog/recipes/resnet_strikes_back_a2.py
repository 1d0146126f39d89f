"""ResNet-50 on ImageNet for 300 epochs, procedure A2 of "ResNet strikes back": as long as DeiT is trained.

    neocog train imagenet --recipe resnet_strikes_back_a2

Paper: Wightman, Touvron and Jégou 2021, "ResNet strikes back: an improved training procedure in timm",
arXiv:2110.00476, table 2.

It is A1 (`resnet_strikes_back_a1`, which says what differs from the paper) in half the epochs, with MixUp 0.1, decay
0.02 and no label smoothing. Gradients are clipped to a norm of 1 as there, of which table 2 lists nothing.

Published: 79.8 % top-1 at 224 pixels (table 2).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.recipes import resnet_strikes_back_a1
from neocog.recipes._facts import Facts
from neocog.train.recipe import Recipe


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    changes = {"epochs": 300, "optimizer.weight_decay": 0.02, "loss.label_smoothing": 0.0, "mix.mixup": 0.1}
    return resnet_strikes_back_a1.recipe(facts).override(changes)
