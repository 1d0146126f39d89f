"""Wide residual networks on CIFAR, as Zagoruyko and Komodakis trained them in 2016.

    neocog train cifar10 --recipe wide_resnet_2016_cifar

Paper: Zagoruyko and Komodakis 2016, "Wide residual networks", arXiv:1605.07146, section 3.

As printed: SGD with Nesterov's momentum 0.9, rate 0.1 divided by 5 after 60, 120 and 160 of 200 epochs, weight decay
5e-4 on all parameters, batches of 128; images mirrored, padded by 4 pixels and cropped; all 50,000 training images.

What differs: the paper pads with mirrored pixels, here with black ones. With `--set edits.dropout=0.3` it is the
paper's other training.

Published: WRN-28-10 4.00 % error of CIFAR-10, WRN-40-4 4.53 %, WRN-16-8 4.27 % (table 5); WRN-28-10 3.89 % with dropout
(table 6).

Measured: not run here; 200 epochs of WRN-28-10 are beyond the machine at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="wide_resnet28_10",
        epochs=200,
        batch_size=128,
        optimizer=Optimizer(name="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_all=True),
        schedule=Schedule(name="step", milestones=(60, 120, 160), gamma=0.2),
        augment=Augmentation(crop="pad", pad=4, flip=0.5),
        validation=0.0,  # the paper holds none out
    )
