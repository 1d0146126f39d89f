"""VGG on ImageNet in four stages, each deeper network begun with layers of the one before.

    neocog train imagenet --recipe vgg_2014

Paper: Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition",
arXiv:1409.1556, sections 3.1 and 3.2.

As printed: each network takes its first four convolutions and its fully-connected layers from a trained shallower one;
batches of 256, momentum 0.9, weight decay 5e-4, dropout of 0.5 (in the network), rate 0.01 divided by 10 three times,
74 epochs (370,000 steps); the shorter side of each image is drawn from 256 to 512 pixels, a crop of 224 from it,
mirrored, its colours shifted as AlexNet's; three sizes and their mirror images when measured.

What differs. The paper grows each network from A, of 11 layers; here each grows from the one before it: 11, 13, 16,
19. It trains networks at a fixed size of 384 before it tunes them at 256 to 512; here all 74 epochs see all sizes. It
divides the rate when the validation error stops falling, and does not print when: here at epochs 25, 49 and 66, which
are as far through the run as 30, 60 and 80 of 90. It prints weight decay and not of what: here biases are spared, as
AlexNet's are. Each stage measures its best epoch and hands that on.

Published: 25.5 % top-1 and 8.0 % top-5 error of VGG-19 with one test size (table 3), 24.8 % and 7.5 % with three (table
4), dense and mirrored; of VGG-11 29.6 % and 10.4 % (table 3).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule

DEPTHS = (11, 13, 16, 19)  # columns A, B, D and E of table 1


def recipe(facts: Facts) -> tuple[Recipe, ...]:
    """Return the runs, the shallowest first; they do not depend on `facts`."""
    first = Recipe(
        model="vgg11",
        image_size=224,
        epochs=74,
        batch_size=256,
        optimizer=Optimizer(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=Schedule(name="step", milestones=(25, 49, 66), gamma=0.1),
        augment=Augmentation(crop="scale", sides=(256, 512), flip=0.5, lighting=0.1),
        views="multi_scale",
    )
    return tuple(first.override({"model": f"vgg{depth}"}) for depth in DEPTHS)
