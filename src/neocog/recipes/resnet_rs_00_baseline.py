"""ResNet-RS' ladder, foot: ResNet-200 on ImageNet as it was trained for years, at 256 pixels.

    neocog train imagenet --recipe resnet_rs_00_baseline
    neocog recipes diff resnet_rs_00_baseline resnet_rs_01_cosine

Paper: Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", arXiv:2103.07579, table 1.

The paper's additive study climbs from here to `resnet_rs_10_resnet_d`: each step changes one thing of the one before.
Table 1 says "90 epochs using a stepwise learning rate decay schedule" and 256 pixels. The rest is that of the authors'
code: batches of 4096, momentum 0.9, rate 1.6 after 5 epochs of warm-up, divided by 10 after 30, 60 and 80 epochs,
weight decay 1e-4, which spares biases and norms; crops of random area and ratio, mirrored.

The network is `resnetrs200` with all that the later steps bring turned off. On small images take the ladder with
`--model resnetrs_cifar --set image_size=32 --set augment.crop=pad`, and a batch and rate that suit them.

Published: 79.0 % top-1 of ImageNet's validation images, mean of two runs (table 1).

Measured: 25.1 ± 0.5 % top-1 of CIFAR-10 three seeds, by benchmarks/resnet_rs_ladder.py: a network of three blocks,
5,000 training images, 3 epochs. Not run on ImageNet, whose images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="resnetrs200",
        edits={"stochastic_depth": 0.0, "dropout": 0.0, "squeeze_excite": False, "resnet_d": False},
        image_size=256,
        epochs=90,
        batch_size=4096,
        optimizer=Optimizer(name="sgd", lr=1.6, momentum=0.9, weight_decay=1e-4),
        schedule=Schedule(name="step", warmup_epochs=5, milestones=(30, 60, 80), gamma=0.1),
        augment=Augmentation(crop="random_resized", scale=(0.08, 1.0), flip=0.5),
    )
