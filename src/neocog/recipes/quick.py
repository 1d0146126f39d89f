"""A sensible run on any folder of images, scaled to the data and the machine. The default.

    neocog train ./photos

Photographs: fine-tunes published weights where they can be had (MobileNetV2 on a CPU, ResNet-50 on a GPU): a new
head at ten times the rate of the rest, batch norms at the statistics that the weights came with, cosine decay, and
as many epochs as show some 1,200 images. Where no weights can be had it says so and trains from scratch, which needs
far more images and epochs.

Small images (up to 64 pixels): trains from scratch, LeNet-5 on grey ones and ResNet-20 on colour, with shifts; the
images are mirrored only where they are in colour, because letters and digits do not survive a mirror. In colour and of
differing sizes they are taken for photographs where published weights can be had.

Measured: on the 245 photographs of the ants-and-bees tutorial 96.1 % of 153 validation images right (95 % interval 91.7
to 98.2 %) after 5 epochs, 1 min 43 s of training on two cores of a 2.5 GHz Xeon without bf16.
"""

from __future__ import annotations

from math import ceil

from neocog.data.augment import Augmentation
from neocog.recipes._facts import Facts
from neocog.train.recipe import Average, Loss, Optimizer, Recipe, Schedule

ACTIVATION_BYTES = 150 << 20  # of one photograph of 224 x 224 in training: more than MobileNetV2 and ResNet-50 keep


def recipe(facts: Facts) -> Recipe:
    """Return the run that suits `facts`."""
    return small_images(facts) if facts.small and not are_cuttings(facts) else photographs(facts)


def are_cuttings(facts: Facts) -> bool:
    """Return whether small images are worth enlarging for a network that knows photographs.

    Images of one small size were made for small networks, as CIFAR's were. In colour and of differing sizes they are
    cut out of photographs as a rule, and few: what published weights know of photographs then says more than the
    images could teach a fresh network. Without such weights, enlarging them would take twenty times the work, and show
    nothing that was not there.
    """
    return not facts.one_size and facts.channels == 3 and facts.weights_at_hand(photograph_network(facts))


def photograph_network(facts: Facts) -> str:
    """Return the network that photographs are shown to: the one asked for, or what the device can bear."""
    return facts.model or ("resnet50" if facts.device == "cuda" else "mobilenetv2_100")


def small_images(facts: Facts) -> Recipe:
    """From scratch, on images that are kept in memory."""
    grey = facts.channels == 1
    batch = power_of_two(facts.images // 40, least=16, most=128)
    sgd = Optimizer(name="sgd", lr=0.1 * batch / 128, nesterov=True, weight_decay=5e-4)
    # LeNet-5 has no normalisation: a rate for each weight spares it the plateau on which it would begin with SGD.
    adamw = Optimizer(name="adamw", lr=2e-3 * (batch / 32) ** 0.5, weight_decay=1e-2)
    return Recipe(
        model=facts.model or ("lenet5" if grey else "resnet20"),
        epochs=clamp(ceil((60_000 if grey else 120_000) / facts.images), 10, 40),
        batch_size=batch,
        loss=loss(facts, smoothing=0.0 if grey else 0.1),
        optimizer=adamw if grey else sgd,
        schedule=Schedule(name="cosine", warmup_epochs=1),
        augment=Augmentation(crop="pad", pad=2 if grey else 4, flip=0.0 if grey else 0.5),
        average=Average(decay=0.99),
    )


def photographs(facts: Facts) -> Recipe:
    """Fine-tuning where the network's weights can be had, else from scratch."""
    model = photograph_network(facts)
    tuned = facts.weights_at_hand(model)
    fits = facts.memory // 2 // ACTIVATION_BYTES
    batch = power_of_two(min(fits, facts.images // 8), least=4, most=32 if facts.device == "cpu" else 128)
    sgd = Optimizer(name="sgd", lr=0.1 * batch / 32, nesterov=True, weight_decay=1e-4)
    adamw = Optimizer(name="adamw", lr=1e-4 * (batch / 16) ** 0.5, weight_decay=1e-2, head_lr_scale=10.0)
    return Recipe(
        model=model,
        weights="default" if tuned else None,
        epochs=clamp(ceil(1_200 / facts.images), 3, 10) if tuned else clamp(ceil(60_000 / facts.images), 30, 150),
        batch_size=batch,
        freeze_norms=tuned,  # a small batch says less of the world than the images the weights were trained on
        loss=loss(facts, smoothing=0.1),
        optimizer=adamw if tuned else sgd,
        schedule=Schedule(name="cosine", warmup_epochs=0.5 if tuned else 5),
        augment=Augmentation(crop="random_resized", scale=(0.35 if tuned else 0.2, 1.0), flip=0.5),
        average=Average(decay=0.98 if tuned else 0.99),
        patience=None if tuned else 40,
    )


def loss(facts: Facts, *, smoothing: float) -> Loss:
    """Cross entropy, or a decision a class where an image has several labels."""
    if facts.multi_label:
        return Loss(name="binary_cross_entropy")
    return Loss(label_smoothing=smoothing)


def clamp(value: int, least: int, most: int) -> int:
    """Return `value`, or the nearer bound where it lies outside."""
    return max(least, min(most, value))


def power_of_two(value: int, *, least: int, most: int) -> int:
    """Return the largest power of two that is at most `value`, within bounds."""
    return clamp(1 << max(value, 1).bit_length() - 1, least, most)
