"""GoogLeNet on ImageNet, with its auxiliary losses, as far as Szegedy et al. print how they trained it in 2014.

    neocog train imagenet --recipe googlenet_2014

Paper: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842, sections 5 to 7.

As printed: the losses of the two auxiliary classifiers weigh 0.3 (section 5); momentum 0.9, the rate falls by 4 % every
8 epochs, the final weights are an average over training (Polyak); crops of 8 to 100 % of the area and a ratio between
3/4 and 4/3; brightness, contrast and colour changed after Howard (2013), by factors between 0.5 and 1.5, then his
lighting noise (section 6). Dropout is the network's.

What differs. The paper prints neither rate, batch, decay nor epochs: rate 0.01 in batches of 32, decay 2e-4 and 250
epochs are those of the public replication in Caffe, as are two more choices: biases are spared from decay, and images
mirrored half the time, which the paper prints of its test alone. It names no start for the average: here the last half
of the run. It draws the filter that resizes (bilinear, area, nearest, cubic); here it is the one of the preprocessing.
Howard draws the order of the colour changes; here it is fixed. Many workers trained it without waiting for each other;
here one does, or several in step. Of the paper's tests, with 1, 10 and 144 crops, this is the one with ten.

Published: 9.15 % top-5 error with ten crops, 10.07 % with one, 7.89 % with 144 (table 3), one network.

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Average, Loss, Optimizer, Recipe, Schedule

EPOCHS = 250


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="googlenet_2014",
        image_size=224,
        epochs=EPOCHS,
        batch_size=32,
        loss=Loss(auxiliary_weight=0.3),
        optimizer=Optimizer(name="sgd", lr=0.01, momentum=0.9, weight_decay=2e-4),
        schedule=Schedule(name="step", milestones=tuple(range(8, EPOCHS, 8)), gamma=0.96),
        augment=Augmentation(
            crop="random_resized",
            scale=(0.08, 1.0),
            ratio=(3 / 4, 4 / 3),
            flip=0.5,
            brightness=0.5,
            contrast=0.5,
            saturation=0.5,
            lighting=0.1,
        ),
        average=Average(name="uniform", start=0.5),
        views="ten_crop",
    )
