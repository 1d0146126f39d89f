"""Holding out validation images: stratified, and the same for the same images and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from torch import Tensor


def hold_out(targets: Tensor, keys: Sequence[str], fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Divide images into those to train on and those held out, class by class.

    Each class gives `fraction` of its images, rounded to the nearest, but at least one where it has two,
    and never its last one. Which images go is decided by a hash of seed and key alone, so that an image
    added later moves few of the others. Where an image has several classes the rarest of them counts as its
    class.

    Args:
        targets: int64 class indices `(N,)`, or zeros and ones `(N, K)`.
        keys: a stable name for each image, such as its path within the data set.
        fraction: share of each class to hold out, from 0 to 1.
        seed: another seed holds out other images.

    Returns:
        Two sorted arrays of indices: train, held out.
    """
    strata = _strata(targets)
    held: list[int] = []
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        count = min(max(1, int(len(members) * fraction + 0.5)), len(members) - 1) if fraction > 0 else 0
        held += sorted(members.tolist(), key=lambda index: _draw(seed, keys[index]))[:count]
    mask = np.zeros(len(strata), dtype=bool)
    mask[held] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _strata(targets: Tensor) -> np.ndarray:
    """Return the class `(N,)` that each image counts for; one beyond the last for an image with none."""
    if targets.ndim == 1:
        return targets.numpy()
    rarity = 1 / targets.sum(0).clamp(min=1)
    strata: np.ndarray = (targets * rarity).argmax(1).numpy()
    strata[(targets.sum(1) == 0).numpy()] = targets.shape[1]
    return strata


def _draw(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
