"""Which published accuracy stands for a network, and which size of image it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from neocog.catalog import Entry, Published, Weights
from neocog.inference.model_file import Card

IMAGENET = "ImageNet validation images"


@dataclass(frozen=True)
class Accuracy:
    """One accuracy of a network.

    Attributes:
        value: per cent; None where nobody published one.
        source: where it stands, or what it was measured on.
        size: height and width of the square images that it is of; None where that is the network's own input.
        weights: the trained weights that have it; None for a paper's.
        passes: in the source's words, how each image went through the network several times, such as "10 crops":
            one pass costs a part of what this accuracy did. Empty where one pass gave it.
        basis: the images that it was measured on.
    """

    value: float | None
    source: str = ""
    size: int | None = None
    weights: Weights | None = None
    passes: str = ""
    basis: str = IMAGENET


def papers_accuracies(entry: Entry, quantity: str) -> list[Accuracy]:
    """Return what papers printed of `entry`, "top1" or "top5"."""
    return [
        Accuracy(figure.value, _where(figure), figure.size, None, figure.passes)
        for figure in entry.published
        if figure.quantity == quantity
    ]


def weights_accuracies(entry: Entry, quantity: str, tags: Sequence[str] = ("*",)) -> list[Accuracy]:
    """Return one accuracy for each of the trained weights whose tag matches one of `tags`, as a shell has it."""
    return [
        Accuracy(each.top1 if quantity == "top1" else None, f"weights {each.tag}", each.test_size or each.size, each)
        for each in entry.weights
        if any(fnmatchcase(each.tag, tag) for tag in tags)
    ]


def best_accuracy(found: Sequence[Accuracy]) -> Accuracy | None:
    """Return the best of those had in one pass over each image; where there is none, the best; None of nothing."""
    known = [each for each in found if each.value is not None]
    return max(known, key=lambda each: (not each.passes, each.value), default=None)


def measured_accuracy(card: Card, quantity: str) -> Accuracy | None:
    """Return what a training run measured on its test images, or else on its validation images; None if on neither."""
    for split in ("test", "validation"):
        share = card.metrics.get(f"{split}_{quantity}")
        if share is not None:
            images = f"the {split} images of {card.data or 'its own data'}"
            return Accuracy(100 * share, f"measured on {images}", basis=images)
    return None


def _where(figure: Published) -> str:
    parts = (figure.source, figure.passes, f"{figure.size}x{figure.size}" if figure.size else "")
    return ", ".join(part for part in parts if part)
