"""DenseNet on CIFAR, as Huang et al. trained it in 2016.

    neocog train cifar10 --recipe densenet_2016_cifar

Paper: Huang, Liu, van der Maaten and Weinberger 2016, "Densely connected convolutional networks", arXiv:1608.06993,
section 4.2.

As printed: SGD with Nesterov's momentum 0.9, rate 0.1 divided by 10 at half and at three quarters of 300 epochs, weight
decay 1e-4 on all parameters, batches of 64; images mirrored, padded by 4 pixels and cropped; all 50,000 training images
in the final run. Where it trains without augmentation, it adds dropout of 0.2.

What differs: nothing that the paper prints.

Published: 4.51 % error of CIFAR-10 for DenseNet-BC of 100 layers and growth rate 12 (table 2, augmented), 3.46 % of
190 layers and growth rate 40.

Measured: not run here; 300 epochs are beyond the machine at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="densenet_bc100_12",
        epochs=300,
        batch_size=64,
        optimizer=Optimizer(name="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, decay_all=True),
        schedule=Schedule(name="step", milestones=(150, 225), gamma=0.1),
        augment=Augmentation(crop="pad", pad=4, flip=0.5),
        validation=0.0,  # nor does the paper's final run hold any out
    )
