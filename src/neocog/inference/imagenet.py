"""ImageNet's thousand classes under all the names that data sets give them, and the labels of "Are we done?".

The classes have numbers, the order of their WordNet ids. Model files of neocog name them by words, folders by WordNet
id (`n01440764`), ImageNet-V2 by number, and the hub by all the words of a WordNet entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from neocog.catalog import imagenet_classes
from neocog.data.rows import relabelled
from neocog.data.table import Split
from neocog.errors import DataError, UsageError
from neocog.inference.metrics import wilson_interval

_FILE = re.compile(r"ILSVRC2012_val_(\d{8})")
_ALIKE = 0.9  # of a thousand names in ImageNet's order that must begin as ours do


@cache
def _places() -> dict[str, int]:
    """Return the number of each class, by our name and by WordNet id."""
    pairs = list(enumerate(imagenet_classes()))
    return {name: number for number, both in pairs for name in both}


def imagenet_numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the number in ImageNet of each class in `names`; None if they are not ImageNet's classes.

    A few of them are recognised by our own names and by WordNet id. Numbers, and the words of other lists, are
    recognised only where there are all the thousand: ten classes called 0 to 9 are digits and no fish.
    """
    places = _places()
    if names and all(name in places for name in names):
        return tuple(places[name] for name in names)
    ours = imagenet_classes()
    if len(names) != len(ours):
        return None
    if all(name.isascii() and name.isdigit() for name in names) and {int(name) for name in names} == set(range(1000)):
        return tuple(int(name) for name in names)
    alike = sum(_first_word(name) == _first_word(our) for name, (_, our) in zip(names, ours, strict=True))
    return tuple(range(len(ours))) if alike >= _ALIKE * len(ours) else None


def _first_word(name: str) -> str:
    """Return the first of the words for a class, without what is in parentheses: "crane" for "crane (bird)"."""
    return name.split(",")[0].split("(")[0].strip().lower().replace("_", " ")


def class_columns(wanted: Sequence[str], given: Sequence[str]) -> list[int] | None:
    """Return for each class in `wanted` its place in `given`, by name or as ImageNet's; None if one is missing."""
    if len(wanted) != len(given):
        return None
    if set(wanted) == set(given):
        places = {name: place for place, name in enumerate(given)}
        return [places[name] for name in wanted]
    mine, its = imagenet_numbers(wanted), imagenet_numbers(given)
    if mine is None or its is None or set(mine) != set(its):
        return None
    numbers = {number: place for place, number in enumerate(its)}
    return [numbers[number] for number in mine]


def match_split(split: Split, classes: Sequence[str]) -> Split:
    """Return `split` with labels that index a model's `classes`, matched by name or as ImageNet's classes.

    Images of some of ImageNet's classes are enough for a model of all, with a warning.

    Raises:
        DataError: the classes are other ones; the message gives both lists.
    """
    wanted = imagenet_numbers(classes) if len(classes) == len(imagenet_classes()) else None
    found = imagenet_numbers(split.classes)
    if wanted is None or found is None or set(classes) == set(split.classes):
        try:
            return split.with_classes(classes)
        except DataError as error:
            if wanted is None or not all(name.isdigit() for name in split.classes):
                raise
            raise DataError(
                f"{error}; folders named by number are taken for ImageNet's classes where all of 0 to 999 are there"
            ) from error
    places = {number: place for place, number in enumerate(wanted)}
    moved = [places[number] for number in found]
    labels = split.rows.with_format("arrow")["label"][:].to_pylist()
    mapped = [[moved[i] for i in label] for label in labels] if split.multi_label else [moved[i] for i in labels]
    rows = relabelled(split.rows, mapped, tuple(classes), split.multi_label)
    warnings = split.warnings
    if len(moved) < len(classes):
        warnings += (f"{split.name}: images of {len(moved):,} of ImageNet's {len(classes):,} classes",)
    return replace(split, rows=rows, classes=tuple(classes), warnings=warnings)


@dataclass(frozen=True)
class RealAccuracy:
    """Accuracy by labels of which several may be right (Beyer et al. 2020, "Are we done with ImageNet?").

    Attributes:
        images: those that have a label at all.
        left_out: those that have none, which are not counted.
        top1: share whose highest score is one of the right classes.
        top5: share of which one of the five highest is.
        interval95: bounds of top-1's 95 % interval (Wilson 1927).
    """

    images: int
    left_out: int
    top1: float
    top5: float
    interval95: tuple[float, float]

    def to_dict(self) -> dict[str, float]:
        """Return the numbers, ready for JSON."""
        low, high = self.interval95
        return {
            "images": self.images,
            "left_out": self.left_out,
            "top1": self.top1,
            "top1_low": low,
            "top1_high": high,
            "top5": self.top5,
        }


def read_real_labels(path: str | Path) -> list[list[int]]:
    """Read `real.json` of github.com/google-research/reassessed-imagenet: the right classes of each validation image.

    Raises:
        DataError: no such file, or not such a list.
    """
    try:
        labels = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the labels cannot be read ({(error.strerror or str(error)).lower()})") from error
    except (ValueError, RecursionError) as error:  # the second of lists nested thousands deep
        raise DataError(f"{path}: not a JSON file; give real.json of google-research/reassessed-imagenet") from error
    count = len(imagenet_classes())
    if not isinstance(labels, list) or not all(
        isinstance(each, list) and all(type(label) is int and 0 <= label < count for label in each) for each in labels
    ):
        raise DataError(
            f"{path}: expected a list that holds, for each validation image, a list of classes from 0 to {count - 1}"
        )
    return labels


def real_labels(split: Split, path: str | Path) -> list[list[int]]:
    """Return the right classes of each image of `split`, by the number in its file's name.

    Raises:
        UsageError: the classes are not ImageNet's.
        DataError: the file of labels cannot be used, or an image is not called ILSVRC2012_val_00000001.JPEG or so.
    """
    _all_numbers(split.classes)
    labels = read_real_labels(path)
    found = []
    for index, row in enumerate(split.rows):
        name = str(row.get("member") or row["image"]["path"] or "")
        match = _FILE.search(Path(name).name)
        if match is None:
            raise DataError(
                f"{split.name}: {name or f'image {index}'} is not called ILSVRC2012_val_00000001.JPEG or so, "
                f"by which {path} knows the images"
            )
        number = int(match[1])
        if not 1 <= number <= len(labels):
            raise DataError(f"{split.name}: {path} has {len(labels):,} labels, and none for {Path(name).name}")
        found.append(labels[number - 1])
    return found


def measure_real(logits: Tensor, right: Sequence[Sequence[int]], classes: Sequence[str]) -> RealAccuracy:
    """Measure logits `(N, K)` by sets of right classes.

    Args:
        logits: what the network gave; a row with a NaN counts as wrong.
        right: numbers in ImageNet of the right classes of each image; without any, the image is left out.
        classes: names of the K classes, which must be ImageNet's.

    Raises:
        UsageError: other classes, or not a set for each image.
        DataError: no image has a label.
    """
    numbers = _all_numbers(classes)
    if len(right) != len(logits):
        raise UsageError(f"{len(right)} sets of labels are not one for each of {len(logits)} images")
    labelled = [index for index, each in enumerate(right) if each]
    if not labelled:
        raise DataError("none of the images has a label in this file")
    ranked = torch.tensor(numbers)[logits[labelled].topk(5, dim=1).indices].tolist()
    sound = (~logits[labelled].isnan().any(dim=1)).tolist()
    hits = [
        [ok and number in right[index] for number in row]
        for index, row, ok in zip(labelled, ranked, sound, strict=True)
    ]
    first = sum(row[0] for row in hits)
    return RealAccuracy(
        images=len(labelled),
        left_out=len(right) - len(labelled),
        top1=first / len(labelled),
        top5=sum(any(row) for row in hits) / len(labelled),
        interval95=wilson_interval(first, len(labelled)),
    )


def _all_numbers(classes: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers in ImageNet of all its classes; raises `UsageError` for others."""
    numbers = imagenet_numbers(classes)
    if numbers is None or len(numbers) != len(imagenet_classes()):
        raise UsageError("these labels are of ImageNet's 1,000 classes, and the model's are other ones")
    return numbers
