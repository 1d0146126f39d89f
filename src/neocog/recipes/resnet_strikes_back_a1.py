"""ResNet-50 on ImageNet for 600 epochs, procedure A1 of "ResNet strikes back": what the old network can do.

    neocog train imagenet --recipe resnet_strikes_back_a1

Paper: Wightman, Touvron and Jégou 2021, "ResNet strikes back: an improved training procedure in timm",
arXiv:2110.00476, table 2.

As printed: LAMB at a rate of 5e-3 in batches of 2048, decay 0.01, 5 epochs of warm-up, then a cosine; binary cross
entropy with label smoothing 0.1; MixUp 0.2 and CutMix 1.0, one of them a batch; RandAugment of strength 7; each image
three times in a batch; stochastic depth 0.05; crops of 8 to 100 % of the area, mirrored.

What differs. RandAugment is torchvision's, timm's in the paper: strength 7 of 10 is 21 of 30 here; timm draws it anew
for each operation, with deviation 0.5, and leaves each out half of the time, and torchvision does neither; timm has
two operations more (inverting, adding light to dark pixels). The paper gives an image 1 for each class that MixUp
leaves in it, and so does timm, for shares above 0.2: the same here, which leaves label smoothing next to nothing to
do. The paper prints neither the first rate of the warm-up nor the last of the cosine: 0 here. Gradients are clipped to
a norm of 1: table 2 lists no clipping beside LAMB, but timm's, with which the paper trained, does so within its step.
timm resizes images for training bilinearly or bicubically by chance, and bicubically for the test, to a crop of 95 % of
the shorter side; a run from scratch resizes bilinearly here and is measured on 87.5 %.

Published: 80.4 % top-1 at 224 pixels (table 2).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.data.mixing import Mixing
from neocog.recipes._facts import Facts
from neocog.train.recipe import Loss, Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="resnet50",
        edits={"stochastic_depth": 0.05},
        image_size=224,
        epochs=600,
        batch_size=2048,
        repeats=3,
        clip_norm=1.0,
        loss=Loss(name="binary_cross_entropy", label_smoothing=0.1, threshold=0.2),
        optimizer=Optimizer(name="lamb", lr=5e-3, weight_decay=0.01),
        schedule=Schedule(name="cosine", warmup_epochs=5),
        augment=Augmentation(crop="random_resized", flip=0.5, policy="randaugment", policy_ops=2, policy_magnitude=21),
        mix=Mixing(mixup=0.2, cutmix=1.0, switch=0.5),
    )
