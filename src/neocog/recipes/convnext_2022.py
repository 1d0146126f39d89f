"""The training of ConvNeXt on ImageNet: a convolutional network with all that transformers were trained with.

    neocog train imagenet --recipe convnext_2022

Paper: Liu et al. 2022, "A ConvNet for the 2020s", arXiv:2201.03545, appendix A.1, table 5.

As printed: AdamW at a rate of 4e-3 in batches of 4096, decay 0.05, 20 epochs of warm-up and a cosine over 300 epochs;
label smoothing 0.1; RandAugment of strength 9; MixUp 0.8 and CutMix 1.0; a box erased in a quarter of the images; the
weights averaged with decay 0.9999. Their code has the last rate (1e-6) and the noise that fills the boxes.

What differs. The catalog has no ConvNeXt yet, and the default network is ResNet-50: the schedule without what it was
made for. Stochastic depth (0.1 for ConvNeXt-T, 0.4 for S, 0.5 for B and L) and layer scale are fields of the network
and are left to it. RandAugment is torchvision's, timm's in the paper: strength 9 of 10 is 27 of 30 here; timm draws it
anew for each operation, with deviation 0.5, and leaves each out half of the time, and torchvision does neither.
Their code resizes images bicubically; a run from scratch resizes bilinearly here.

Published: 82.1 % top-1 of ConvNeXt-T, 83.1 % of S, 83.8 % of B, 84.3 % of L at 224 pixels (table 1).

Measured: not run here; ImageNet's images are not at hand.
"""

from __future__ import annotations

from neocog.data.augment import Augmentation
from neocog.data.mixing import Mixing
from neocog.recipes._facts import Facts
from neocog.train.recipe import Average, Loss, Optimizer, Recipe, Schedule


def recipe(facts: Facts) -> Recipe:
    """Return the run; it does not depend on `facts`."""
    return Recipe(
        model="resnet50",
        image_size=224,
        epochs=300,
        batch_size=4096,
        loss=Loss(name="cross_entropy", label_smoothing=0.1),
        optimizer=Optimizer(name="adamw", lr=4e-3, weight_decay=0.05),
        schedule=Schedule(name="cosine", warmup_epochs=20, final=2.5e-4),
        augment=Augmentation(
            crop="random_resized",
            flip=0.5,
            policy="randaugment",
            policy_ops=2,
            policy_magnitude=27,
            erase=0.25,
            erase_fill="noise",
        ),
        mix=Mixing(mixup=0.8, cutmix=1.0, switch=0.5),
        average=Average(decay=0.9999, warmup=False),
    )
