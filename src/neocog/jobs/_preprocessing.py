"""How a run prepares its images: as the weights were trained, or to suit the data where there are none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from neocog.catalog import IMAGENET_MEAN, IMAGENET_STD, describe, find_weights
from neocog.data.loading import measure_mean_std
from neocog.data.mixing import Mixing
from neocog.data.preprocess import Preprocessing
from neocog.data.streaming import Look
from neocog.data.table import Splits
from neocog.errors import WeightsError
from neocog.inference.model_file import Card, read_card
from neocog.jobs._published import published_preprocessing
from neocog.recipes import Facts, Recipe

PHOTOGRAPH_SIZE = 224


def choose_preprocessing(recipe: Recipe, splits: Splits, facts: Facts) -> Preprocessing:
    """Return how images are prepared: as the weights were trained, or to suit the data where there are none."""
    entry = describe(recipe.model)
    if recipe.weights is not None:
        known = preprocessing_of_weights(recipe)
        if known is not None:
            return known
    if not facts.small:
        return Preprocessing(size=side(recipe, PHOTOGRAPH_SIZE), mean=IMAGENET_MEAN, std=IMAGENET_STD)
    height, width = facts.image_size
    size = side(recipe, min(entry.input[1:]) if min(entry.input[1:]) < 200 else max(height, width))
    # A digit of 28 pixels in a network for 32 is centred, as LeCun et al. did; anything else is resized.
    fit: Literal["pad", "squash"] = "pad" if 0 <= size[0] - height <= 8 and 0 <= size[1] - width <= 8 else "squash"
    plain = Preprocessing(
        size=size, fit=fit, mean=(0.0,) * facts.channels, std=(1.0,) * facts.channels, channels=facts.channels
    )
    mean, std = measure_mean_std(splits.train, plain)
    return plain.model_copy(update={"mean": mean, "std": std})


def preprocessing_of_weights(recipe: Recipe) -> Preprocessing | None:
    """Return how images were prepared for the weights that `recipe` starts from; None where nobody says.

    A model file says it itself. Any other file is taken for the network's usual weights, where it has any.
    """
    weights = str(recipe.weights)
    if not Path(weights).suffix:
        return published_preprocessing(find_weights(recipe.model, weights), recipe.image_size)
    if not Path(weights).is_file():
        raise WeightsError(f"no weights file {weights}; check the path")
    if (card := own_card(weights)) is not None:
        own = card.preprocessing
        return own.model_copy(update={"size": side(recipe, own.size[0])}) if recipe.image_size else own
    if describe(recipe.model).weights:
        return published_preprocessing(find_weights(recipe.model), recipe.image_size)
    return None


def own_card(weights: object) -> Card | None:
    """Return what a model file says of itself; None where `weights` is no such file."""
    with suppress(WeightsError):
        return read_card(weights) if isinstance(weights, str) and weights.endswith(".safetensors") else None
    return None


def side(recipe: Recipe, otherwise: int) -> tuple[int, int]:
    """Return the square that the recipe asks for, or the one of `otherwise`."""
    pixels = recipe.image_size or otherwise
    return pixels, pixels


def look_of(recipe: Recipe, preprocessing: Preprocessing, epoch: int) -> tuple[Look, Mixing]:
    """Return how the training images of `epoch` are prepared, varied and mixed, where fields of `recipe` vary."""
    now = recipe.at(epoch)
    size = side(now, preprocessing.size[0]) if "image_size" in recipe.vary else preprocessing.size
    return Look(preprocessing.model_copy(update={"size": size}), now.augment), now.mix


def sizes_seen(recipe: Recipe, preprocessing: Preprocessing) -> list[tuple[int, int]]:
    """Return every (height, width) that the network sees: when it is measured, then others of its training."""
    if "image_size" not in recipe.vary:
        return [preprocessing.size]
    starts = {epoch for epoch, _ in recipe.vary["image_size"] if epoch < recipe.epochs} | {0}
    trained = [look_of(recipe, preprocessing, epoch)[0].preprocessing.size for epoch in sorted(starts)]
    return list(dict.fromkeys([preprocessing.size, *trained]))
