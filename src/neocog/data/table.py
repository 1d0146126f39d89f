"""Labelled images as tables: `Split`, and the `Splits` that a training run uses.

A split is a Hugging Face `datasets` table with an "image" column that is not decoded, a struct of `bytes`
and `path`, and a "label" column: a class index, or a list of them where an image may have several. Images
come from files (`path` alone), from the table itself (`bytes`), or from tar shards (`path` with the
columns "member", "offset" and "size").
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from neocog.data.preprocess import open_image
from neocog.data.rows import encoded_image, image_header, listed, relabelled
from neocog.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SMALL_SIDE = 64
"""Images up to this many pixels wide and high, all of one size, are kept decoded in memory."""

_SAMPLE = 256  # images whose headers tell the size and the colours of a split
_GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images of one purpose.

    Attributes:
        rows: the table; see the module.
        classes: class names; a label is an index into them.
        name: of the source and the split, such as "cifar10/test".
        multi_label: an image has any number of classes instead of exactly one.
        origin: name of the table that the rows were selected from; empty where this is the whole table.
        positions: index of each row in that table.
        warnings: one line each about what a user should know of these images.
    """

    rows: Dataset
    classes: tuple[str, ...]
    name: str
    multi_label: bool = False
    origin: str = ""
    positions: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int, channels: int = 3) -> Image.Image:
        """Decode image `index`, upright, in RGB or grey.

        Raises:
            DataError: the image cannot be decoded; the message names it.
        """
        row = self.rows[index]
        return open_image(encoded_image(row), channels, name=self._source(row, index))

    def source(self, index: int) -> str:
        """Return where image `index` came from: its file, or a place such as "cifar10/test[12]"."""
        return self._source(self.rows[index], index)

    def targets(self) -> Tensor:
        """Return all labels: int64 `(N,)`; with several an image, float32 `(N, K)` of zeros and ones."""
        labels = self.rows.with_format("arrow")["label"][:]
        if not self.multi_label:
            return torch.from_numpy(labels.to_numpy().astype(np.int64))
        hot = torch.zeros(len(self), len(self.classes))
        for row, indices in enumerate(labels.to_pylist()):
            hot[row, indices] = 1
        return hot

    def select(self, indices: Sequence[int] | np.ndarray, name: str | None = None) -> Split:
        """Return the split of the given rows, in the given order, under another name if one is given."""
        chosen = np.asarray(indices, dtype=np.int64)
        positions = chosen if self.positions is None else self.positions[chosen]
        return replace(
            self,
            rows=self.rows.select(chosen),
            name=name or self.name,
            origin=self.origin or self.name,
            positions=positions,
        )

    def with_classes(self, classes: Sequence[str]) -> Split:
        """Return the same images with labels that index `classes`, matched by name.

        Raises:
            DataError: the names are not the same ones; the message gives both lists.
        """
        if set(classes) != set(self.classes):
            raise DataError(
                f"{self.name}: its classes are not the model's; data: {listed(self.classes)}; "
                f"model: {listed(classes)}; rename the data's classes, or use a model trained on them"
            )
        if tuple(classes) == self.classes:
            return self
        places = [list(classes).index(name) for name in self.classes]
        labels = self.rows.with_format("arrow")["label"][:].to_pylist()
        mapped = [[places[i] for i in label] for label in labels] if self.multi_label else [places[i] for i in labels]
        rows = relabelled(self.rows, mapped, tuple(classes), self.multi_label)
        return replace(self, rows=rows, classes=tuple(classes))

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Number of images of each class, in the order of `classes`."""
        targets = self.targets()
        if self.multi_label:
            return tuple(int(count) for count in targets.sum(0))
        return tuple(torch.bincount(targets, minlength=len(self.classes)).tolist())

    @property
    def image_size(self) -> tuple[int, int]:
        """Median height and width of a deterministic sample of the images."""
        return self._looks[0]

    @property
    def channels(self) -> int:
        """1 if every image of the sample is grey, else 3."""
        return self._looks[1]

    @property
    def one_size(self) -> bool:
        """Whether the images of the sample are all of one size."""
        return self._looks[2]

    @property
    def small(self) -> bool:
        """Whether the decoded images belong in memory.

        True if those of the sample are of one size, at most `SMALL_SIDE` pixels a side, and all images would
        fill at most a quarter of the free memory as uint8.
        """
        (height, width), channels, one_size = self._looks
        fits = len(self) * channels * height * width <= _free_memory() / 4
        return one_size and max(height, width) <= SMALL_SIDE and fits

    @cached_property
    def _looks(self) -> tuple[tuple[int, int], int, bool]:
        """Median (height, width), channels, and whether a sample's headers tell of one size only."""
        sizes, grey = [], True
        for index in np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(int)).tolist():
            try:
                size, mode = image_header(encoded_image(self.rows[index]))
            except (OSError, SyntaxError, ValueError):
                continue  # reported by name when it is decoded
            sizes.append(size)
            grey = grey and mode in _GREY_MODES
        if not sizes:
            raise DataError(f"{self.name}: none of its images can be read; check a few of them by hand")
        height, width = np.median(np.array(sizes), axis=0)
        return (round(height), round(width)), 1 if grey else 3, len(set(sizes)) == 1

    def _source(self, row: dict[str, Any], index: int) -> str:
        image = row["image"]
        if image["bytes"] is None and image["path"]:
            return f"{image['path']}/{row['member']}" if "member" in row else str(image["path"])
        if self.positions is None:
            return f"{self.name}[{index}]"
        return f"{self.origin}[{self.positions[index]}]"


@dataclass(frozen=True, eq=False)
class Splits:
    """What a run trains on, what it chooses its weights by, and what it is measured on once, at the end.

    Attributes:
        train: images to learn from.
        validation: images to choose by; None only where no image could be spared.
        test: images that choose nothing, if the source has any.
        name: of the source.
        warnings: one line each about what a user should know of this data.
    """

    train: Split
    validation: Split | None
    test: Split | None
    name: str
    warnings: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the training split's."""
        return self.train.classes

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes."""
        return self.train.multi_label

    @property
    def images(self) -> int:
        """Number of training images."""
        return len(self.train)

    @property
    def small(self) -> bool:
        """Whether the training images belong in memory, decoded; see `Split.small`."""
        return self.train.small

    @property
    def image_size(self) -> tuple[int, int]:
        """Median height and width of a sample of the training images."""
        return self.train.image_size

    @property
    def channels(self) -> int:
        """1 if the training images are grey, else 3."""
        return self.train.channels

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of training images of each class."""
        return self.train.class_counts


@dataclass
class Tables:
    """What a reader found at a source, before anything is held out.

    Attributes:
        name: of the source.
        splits: by "train", "validation" and "test", or "all" where the source names no split.
        keys: a name of each image within the source that does not depend on where the source lies, by split;
            the index serves where a split has none.
        warnings: one line each about what a user should know.
    """

    name: str
    splits: dict[str, Split]
    keys: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def training(self) -> Split:
        """The images to learn from; raises `DataError` where the source has other splits only."""
        found = self.splits.get("train") or self.splits.get("all")
        if found is None:
            have = " and ".join(self.splits)
            raise DataError(f"{self.name}: there is no training split, only {have}; add one, or use it to evaluate")
        return found


def _free_memory() -> int:
    """Return the bytes of memory that could be used without swapping."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 << 30
