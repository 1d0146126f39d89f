"""ResNet on ImageNet, as He et al. trained it in 2015.

    neocog train imagenet --model resnet50 --recipe resnet_2015

Paper: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, section 3.4.

As printed: the shorter side of each image is drawn from 256 to 480 pixels, a crop of 224 from it, mirrored, its colours
shifted as AlexNet's; SGD with momentum 0.9 and weight decay 1e-4, batches of 256, rate 0.1, 60e4 steps, which are 120
epochs of 1,281,167 images; no dropout; ten crops when measured.

What differs. The paper divides the rate by 10 when the error plateaus, and does not print when: here at epochs 30, 60
and 90, a choice of ours. It does not say of what the decay is: here of all parameters. Its subtraction of each pixel's
mean is one mean and one deviation a channel here. The colours are those that are customary for ImageNet.

Published: 22.85 % top-1 and 6.71 % top-5 error of ImageNet's validation images, ResNet-50, ten crops (table 3).

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
        epochs=120,
        batch_size=256,
        optimizer=Optimizer(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, decay_all=True),
        schedule=Schedule(name="step", milestones=(30, 60, 90), gamma=0.1),
        augment=Augmentation(crop="scale", sides=(256, 480), flip=0.5, lighting=0.1),
        views="ten_crop",
    )
