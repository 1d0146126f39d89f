"""AlexNet on ImageNet, as Krizhevsky et al. trained it in 2012.

    neocog train imagenet --recipe alexnet_2012

Paper: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
sections 4 and 5.

As printed: images resized to 256 on the shorter side, random crops and mirror images, colours shifted along ImageNet's
principal components with deviation 0.1 (section 4.1); SGD with momentum 0.9 and weight decay 5e-4 on the weights (the
paper says no word of biases, and its program, cuda-convnet, gives them none), batches of 128, rate 0.01 divided by 10
three times, about 90 epochs (section 5); ten crops when measured. The network has the dropout.

What differs. The paper divides the rate when the validation error stops falling, and does not print when: here at
epochs 30, 60 and 80, as is customary. It cuts the central 256 x 256 out of each image before it crops; here the crop
may lie anywhere in the whole image. Its crops are of 224 pixels, of which its 55 positions do not come out: the
network takes 227, and the shorter side is in proportion (259). Its subtraction of each pixel's mean is one mean and
one deviation a channel here. The colours of the paper are those of its own training images; the components used here
are those that are customary for ImageNet. It begins with biases of 1 in some layers, for which see the network.

Published: 40.7 % top-1 and 18.2 % top-5 error of ILSVRC-2012's validation images, one network, ten crops (table 2).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="alexnet_2012",
        image_size=227,
        epochs=90,
        batch_size=128,
        optimizer=Optimizer(name="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4),
        schedule=Schedule(name="step", milestones=(30, 60, 80), gamma=0.1),
        augment=Augmentation(crop="scale", sides=(256, 256), flip=0.5, lighting=0.1),
        views="ten_crop",
    )
