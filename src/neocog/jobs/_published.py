"""From a catalog entry's weights to the preprocessing that they were trained for."""

from __future__ import annotations

from neocog.catalog import Weights
from neocog.data.preprocess import Preprocessing


def published_preprocessing(weights: Weights, size: int | None = None) -> Preprocessing:
    """Return how `weights` want their images, at their own size or at `size`."""
    side = size or weights.size
    return Preprocessing.model_validate(
        {
            "size": (side, side),
            "crop_pct": weights.crop_pct,
            "interpolation": weights.interpolation,
            "mean": weights.mean,
            "std": weights.std,
        }
    )
