"""Images with labels: where they come from, and how they become a network's input.

The names below are looked up when they are used, so that importing one module of this room does not import
them all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neocog.data.augment import Augmentation
    from neocog.data.files import list_images
    from neocog.data.named import DATASETS
    from neocog.data.preprocess import (
        Preprocessing,
        normalise,
        open_image,
        resize_image,
        to_uint8,
    )
    from neocog.data.sources import load_data, load_split
    from neocog.data.table import Split, Splits

_HOMES = {
    "Augmentation": "augment",
    "DATASETS": "named",
    "Preprocessing": "preprocess",
    "Split": "table",
    "Splits": "table",
    "list_images": "files",
    "load_data": "sources",
    "load_split": "sources",
    "normalise": "preprocess",
    "open_image": "preprocess",
    "resize_image": "preprocess",
    "to_uint8": "preprocess",
}

__all__ = [
    "DATASETS",
    "Augmentation",
    "Preprocessing",
    "Split",
    "Splits",
    "list_images",
    "load_data",
    "load_split",
    "normalise",
    "open_image",
    "resize_image",
    "to_uint8",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
