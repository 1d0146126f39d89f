"""ResNet on CIFAR-10, as He et al. trained it in 2015.

    neocog train cifar10 --model resnet20 --recipe resnet_2015_cifar

Paper: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, section 4.2.

As printed: images padded by 4 and cropped, mirrored; SGD with momentum 0.9, batches of 128, weight decay
1e-4 on everything, rate 0.1 divided by 10 at 32k and 48k of 64k iterations, which is epochs 82, 123 and 164 of
50,000 images.

Published: ResNet-20 8.75 % error, ResNet-56 6.97 %, ResNet-110 6.43 % (table 6).

Measured: not run here.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="resnet20",
        epochs=164,
        batch_size=128,
        optimizer=Optimizer(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, decay_all=True),
        schedule=Schedule(name="step", milestones=(82, 123), gamma=0.1),
        augment=Augmentation(crop="pad", pad=4, flip=0.5),
    )
