"""What is known about each network before one is built: names, papers, figures, and where weights are.

    >>> from neocog.catalog import describe, list_models
    >>> list_models("mobilenetv2_1*", sort="macs")
    ['mobilenetv2_100', 'mobilenetv2_110d', 'mobilenetv2_140', 'mobilenetv2_120d']
    >>> describe("mobilenetv2_100").parameters
    3504872

One TOML file per family stands beside this module. Reading them needs no torch, so that listing names is instant.
"""

from neocog.catalog._entry import IMAGENET_MEAN, IMAGENET_STD, Entry, Published, Weights
from neocog.catalog._fetch import fetch_weights, find_weights, local_file, weights_at_hand
from neocog.catalog._files import check_pattern, describe, imagenet_classes, list_models

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Entry",
    "Published",
    "Weights",
    "check_pattern",
    "describe",
    "fetch_weights",
    "find_weights",
    "imagenet_classes",
    "list_models",
    "local_file",
    "weights_at_hand",
]
