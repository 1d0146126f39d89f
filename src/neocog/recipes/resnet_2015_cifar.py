"""ResNet on CIFAR-10, as He et al. trained it in 2015.

    neocog train cifar10 --model resnet20 --recipe resnet_2015_cifar

Paper: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, section 4.2.

As printed: images padded by 4 pixels and cropped, mirrored; SGD with momentum 0.9 and weight decay 1e-4, batches of
128, rate 0.1 divided by 10 after 32k and 48k of 64k steps, which are 82, 123 and 164 epochs of all 50,000 training
images.

What differs. ResNet-110 was warmed up at a rate of 0.01 until its training error was below 80 %, about 400 steps; here
no network is (`--set schedule.warmup_epochs=1` lets the rate rise over the first epoch). The paper does not say of what
the decay is: here of all parameters. Its subtraction of each pixel's mean is one mean and one deviation a channel here.

Published: ResNet-20 8.75 % error, ResNet-56 6.97 %, ResNet-110 6.43 %, the best of five runs (table 6).

Measured: not run here; 164 epochs of 50,000 images take hours on the two cores at hand.
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
        validation=0.0,  # so that 164 epochs are the paper's 64k steps
    )
