"""ConvNetJS' CIFAR-10 demo: three small convolutions that learn in a browser, by Adadelta in batches of 4.

    neocog train cifar10 --recipe convnetjs_cifar10

Paper: none; Karpathy 2014, ConvNetJS, the demo and its trainer's code (https://cs.stanford.edu/people/karpathy/convnetjs).

As there: Adadelta with share 0.95 and eps 1e-6 in batches of 4; images shifted by up to 2 pixels each way and mirrored
half the time; every tenth image held out.

What differs. The demo's `l2_decay` is 1e-4, and its trainer adds it once to a gradient that it then divides by the
batch of 4: 2.5e-5 in our terms, on filters but not on biases, as there. It never stops; here 20 epochs. Pixels go from
-0.5 to 0.5 there and have mean 0 and deviation 1 here. What a shift brings in is grey there (0 on that scale) and black
here. The demo's accuracy is of the mean over six variants of each image, randomly shifted and mirrored; here over an
image and its mirror image.

Published: about 80 % right of CIFAR-10 test images, of a trained network that the page offers to load.

Measured: on a JPEG copy of CIFAR-10, 40.10 % of the 5,000 images held out right after the first epoch, 2 min 4 s of one
core of a 2.5 GHz Xeon that had other work to do. The other epochs were not run here; they would take an hour.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="convnetjs",
        epochs=20,
        batch_size=4,
        optimizer=Optimizer(name="adadelta", lr=1.0, rho=0.95, eps=1e-6, weight_decay=1e-4 / 4),
        schedule=Schedule(name="constant"),
        augment=Augmentation(crop="pad", pad=2, flip=0.5),
        views="flip",
    )
