"""ResNet on ImageNet, as He et al. trained it in 2015.

    neocog train imagenet --model resnet50 --recipe resnet_2015

Paper: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, section 3.4.

As printed: crops of 224 from images resized in scale, mirrored; SGD with momentum 0.9, batches of
256, rate 0.1 divided by 10 when the error plateaus, weight decay 1e-4 on everything, no dropout, 60e4 iterations.
Today's customary reading is used where the paper leaves it open: 90 epochs with the rate divided at 30, 60 and 80,
and crops of random area and ratio in place of random scale.

Published: ResNet-50 22.85 % top-1 error with ten crops (table 3).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="resnet50",
        image_size=224,
        epochs=90,
        batch_size=256,
        optimizer=Optimizer(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, decay_all=True),
        schedule=Schedule(name="step", milestones=(30, 60, 80), gamma=0.1),
        augment=Augmentation(crop="random_resized", scale=(0.08, 1.0), flip=0.5),
    )
