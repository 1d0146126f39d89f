"""Data sets known by name: the embedded digits, and the field's benchmarks on the Hugging Face hub."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from neocog.data.hub import read_hub
from neocog.data.rows import image_structs, make_rows
from neocog.data.splitting import hold_out
from neocog.data.table import Split, Tables


@dataclass(frozen=True)
class NamedSet:
    """A data set that has a name.

    Attributes:
        name: what one types.
        description: what is in it.
        hub: its name on the Hugging Face hub; None for one that is embedded.
    """

    name: str
    description: str
    hub: str | None


_ALL = (
    NamedSet("digits", "1,797 scanned digits of 8 x 8, embedded in scikit-learn: no download", None),
    NamedSet("mnist", "70,000 handwritten digits of 28 x 28, grey (LeCun et al. 1998)", "ylecun/mnist"),
    NamedSet(
        "fashion_mnist",
        "70,000 pieces of clothing of 28 x 28, grey, 10 classes (Xiao et al. 2017)",
        "zalando-datasets/fashion_mnist",
    ),
    NamedSet("cifar10", "60,000 photographs of 32 x 32, 10 classes (Krizhevsky 2009)", "uoft-cs/cifar10"),
    NamedSet("cifar100", "60,000 photographs of 32 x 32, 100 classes (Krizhevsky 2009)", "uoft-cs/cifar100"),
    NamedSet(
        "imagenet",
        "1.28 million photographs, 1,000 classes (Russakovsky et al. 2015); its licence is agreed to on the hub",
        "ILSVRC/imagenet-1k",
    ),
)

DATASETS: dict[str, NamedSet] = {each.name: each for each in _ALL}
"""The data sets known by name."""


def read_named(name: str) -> Tables:
    """Read one of `DATASETS`: embedded, from the hub's cache, or from the hub.

    Raises:
        DataError: it is neither cached nor to be reached.
    """
    hub_name = DATASETS[name].hub
    return _digits() if hub_name is None else read_hub(name, hub_name)


def _digits() -> Tables:
    """Return scikit-learn's digits as grey PNG; the test split is a stratified fifth, always the same."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # 17 shades, 0 to 16
    labels = bunch.target.astype(np.int64)
    classes = tuple(str(digit) for digit in range(10))
    keys = [str(index) for index in range(len(labels))]
    train, test = hold_out(torch.from_numpy(labels), keys, fraction=0.2, seed=0)
    tables = Tables("digits", {})
    for split, chosen in (("train", train), ("test", test)):
        encoded = [_png(image) for image in pixels[chosen]]
        rows = make_rows(image_structs(encoded=encoded), labels[chosen].tolist(), classes)
        tables.splits[split] = Split(rows, classes, f"digits/{split}")
    return tables


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
