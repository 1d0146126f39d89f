"""From a source and a recipe to a plan: every choice made, nothing left "auto"."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict

from neocog.catalog import describe, find_weights, weights_at_hand
from neocog.data.loading import measure_mean_std
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import divide, read_source
from neocog.data.table import SMALL_SIDE, Split, Splits
from neocog.errors import UsageError, WeightsError
from neocog.inference.model_file import Card, read_card
from neocog.jobs._device import choose_device
from neocog.jobs._published import published_preprocessing
from neocog.jobs.listener import Listener
from neocog.models import create_model, tap
from neocog.models._family import Family
from neocog.recipes import Facts, Recipe, build_recipe
from neocog.train.environment import available_cores
from neocog.train.precision import computes_in_bf16
from neocog.train.self_organising import check_self_organising

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTOGRAPH_SIZE = 224
SMALL_STEP = 200_000_000  # multiply-adds of a batch: LeNet-5 stays below, ResNet-20 is far above


class Plan(BaseModel):
    """What a run is built from, as run.json keeps it: resuming reads this and chooses nothing again.

    `in_memory` is among it because whether the images fit depends on the machine, and a crop of an image in memory
    differs by a rounding from the crop of a file.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    data_dir: str | None
    device: str
    recipe: Recipe
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    multi_label: bool
    in_chans: int
    in_memory: bool
    fingerprint: str

    @property
    def score(self) -> Literal["top1", "mean_average_precision"]:
        """Name of the figure by which validation chooses the best weights."""
        return "mean_average_precision" if self.multi_label else "top1"


def plan_training(
    source: str | Path,
    *,
    data_dir: str | Path | None,
    model: str | None,
    recipe: str | Recipe,
    weights: str | None,
    overrides: Mapping[str, Any],
    device: str | None,
    listener: Listener,
) -> tuple[Splits, Plan]:
    """Load the images, resolve every choice of a training run, and say the choices that a person may want to know.

    How many images are held out is the recipe's to say, and the recipe may depend on how many are left. So it is
    asked twice: of all images how many to hold out, and of those that are left everything else.
    """
    device, overrides = choose_device(device), dict(overrides)
    if isinstance(overrides.get("model"), str):  # the recipe must know whom it is for
        model = overrides.pop("model")
    tables = read_source(source, data_dir=data_dir)
    asked = {name: value for name, value in overrides.items() if name in ("validation", "seed")}
    first = resolve_name(recipe, gather_facts(tables.training, model, device)).override(asked)
    splits = divide(tables, validation=first.validation, seed=first.seed)
    facts = gather_facts(splits.train, model, device)
    chosen = resolve_name(recipe, facts).model_copy(update={"validation": first.validation, "seed": first.seed})
    if model is not None:
        chosen = chosen.model_copy(update={"model": model})
    start = overrides.get("weights", weights or chosen.weights)
    own = own_card(start)
    if own is not None and own.model == chosen.model:
        chosen = chosen.model_copy(update={"edits": {**own.edits, **chosen.edits}})
    if facts.small and start is None and model_has_small_stem(chosen.model):
        # A network for photographs shrinks 32 pixels to one before its first block; its small-image stem does not.
        chosen = chosen.model_copy(update={"edits": {"stem": "small", **chosen.edits}})
        listener.notice(f"{chosen.model} gets its stem for small images (--set edits.stem=imagenet keeps the large)")
    chosen = chosen.override(({"weights": weights} if weights else {}) | dict(overrides))
    if chosen.edits.get("auxiliary") and not chosen.loss.auxiliary_weight:
        listener.notice("auxiliary heads are left out, since no loss trains them; --set loss.auxiliary_weight=0.3 does")
    chosen = with_auxiliary_heads(resolve(chosen, facts))
    preprocessing = choose_preprocessing(chosen, splits, facts)
    in_memory = splits.small and max(preprocessing.size) <= SMALL_SIDE
    if in_memory:
        chosen = chosen.model_copy(update={"workers": 0})
    check_network(chosen, preprocessing, len(splits.classes))
    say_choices(chosen, facts, listener)
    return splits, Plan(
        source=str(source),
        data_dir=None if data_dir is None else str(data_dir),
        device=device,
        recipe=chosen,
        preprocessing=preprocessing,
        classes=splits.classes,
        multi_label=splits.multi_label,
        in_chans=preprocessing.channels,
        in_memory=in_memory,
        fingerprint=fingerprint(splits.train),
    )


def resolve_name(recipe: str | Recipe, facts: Facts) -> Recipe:
    """Return the recipe of that name for `facts`; one that is given whole stays as it is."""
    return recipe if isinstance(recipe, Recipe) else build_recipe(recipe, facts)


def model_has_small_stem(name: str) -> bool:
    """Return whether `name` is a network for photographs whose config offers a stem for small images."""
    stems = get_args(get_type_hints(type(Family.of(name).config)).get("stem"))
    return min(describe(name).input[1:]) >= PHOTOGRAPH_SIZE and "small" in stems


def gather_facts(images: Split, model: str | None, device: str) -> Facts:
    """Return what a recipe may know of the images to train on and of the machine."""
    if device.startswith("cuda"):
        memory = torch.cuda.mem_get_info(device)[0]
    else:
        memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Facts(
        images=len(images),
        class_counts=images.class_counts,
        small=max(images.image_size) <= SMALL_SIDE,
        one_size=images.one_size,
        image_size=images.image_size,
        channels=images.channels,
        multi_label=images.multi_label,
        model=model,
        device=torch.device(device).type,
        memory=memory,
        weights_at_hand=weights_at_hand,
    )


def resolve(recipe: Recipe, facts: Facts) -> Recipe:
    """Return `recipe` with every "auto" replaced and a batch that the data can fill."""
    macs, cores = describe(recipe.model).macs, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) or 1
    changes: dict[str, Any] = {}
    micro_batches = recipe.accumulate * int(os.environ.get("WORLD_SIZE", "1"))
    check_counts(recipe, facts.images, micro_batches)
    if recipe.precision == "auto":
        changes["precision"] = "bf16" if computes_in_bf16(facts.device) else "fp32"
    if recipe.channels_last == "auto":
        changes["channels_last"] = True
    if recipe.threads == "auto":
        # Handing a step of a millisecond to other threads takes longer than doing it.
        changes["threads"] = cores if macs * recipe.batch_size >= SMALL_STEP else 1
    if recipe.workers == "auto":
        changes["workers"] = max(1, cores // 2) if facts.device == "cpu" else min(cores, 16)
    if recipe.batch_size > facts.images:
        changes["batch_size"] = facts.images // micro_batches * micro_batches
    if facts.multi_label and recipe.loss.name == "cross_entropy":
        changes["loss"] = recipe.loss.model_copy(
            update={"name": "binary_cross_entropy", "rubbish": None, "label_smoothing": 0.0}
        )
    return recipe.model_copy(update=changes)


def with_auxiliary_heads(recipe: Recipe) -> Recipe:
    """Return `recipe` with a network that has auxiliary heads exactly if the recipe gives their losses a weight."""
    weight = recipe.loss.auxiliary_weight
    if weight == 0:
        return recipe.model_copy(update={"edits": {k: v for k, v in recipe.edits.items() if k != "auxiliary"}})
    if not hasattr(Family.of(recipe.model).config, "auxiliary"):
        raise UsageError(
            f"{recipe.model} has no auxiliary heads, whose losses loss.auxiliary_weight={weight:g} is for; "
            "googlenet, inception_v3 and dsn are among the networks that have them"
        )
    if recipe.train == "head":
        raise UsageError(f"loss.auxiliary_weight={weight:g} trains hidden layers, which train=head freezes; choose one")
    return recipe.model_copy(update={"edits": {**recipe.edits, "auxiliary": True}})


def check_counts(recipe: Recipe, images: int, micro_batches: int) -> None:
    """Refuse what would fail after the run's directory was made, and leave that behind."""
    if images < micro_batches:
        raise UsageError(f"{images} training images cannot fill {micro_batches} micro-batches; lower accumulate")
    if recipe.batch_size % micro_batches:
        raise UsageError(
            f"a batch of {recipe.batch_size} cannot be divided into {micro_batches} micro-batches (processes times "
            f"accumulate); choose a multiple of {micro_batches} (--batch-size)"
        )
    if recipe.threads != "auto" and recipe.threads < 1:
        raise UsageError(f"threads must be at least 1, not {recipe.threads}")
    if recipe.workers != "auto" and recipe.workers < 0:
        raise UsageError(f"workers must be at least 0, not {recipe.workers}")


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


def check_network(recipe: Recipe, preprocessing: Preprocessing, classes: int) -> None:
    """Raise what building or feeding the network would, before a run is begun; it costs no memory."""
    with torch.device("meta"):
        network = create_model(recipe.model, num_classes=classes, in_chans=preprocessing.channels, **recipe.edits)
        image = torch.empty(1, preprocessing.channels, *preprocessing.size)
        network.check_input(image)
        if recipe.organise:
            check_self_organising(network)
        if heads := network.auxiliary_heads:
            with tap(network.eval(), list(heads)) as seen:
                network(image)
            for stage, head in heads.items():
                head(seen[stage])


def say_choices(recipe: Recipe, facts: Facts, listener: Listener) -> None:
    """Tell the person about choices with consequences."""
    if recipe.compile and recipe.loss.auxiliary_weight > 0:
        listener.notice("compile=true has no effect with auxiliary losses, for which hidden layers are read")
    if not facts.small and recipe.weights is None:
        listener.notice(f"training {recipe.model} from scratch, which needs many images: {why_from_scratch(recipe)}")
    if facts.imbalance >= 3 and not recipe.loss.balance:
        listener.notice(
            f"the classes are unbalanced: the largest has {facts.imbalance:.1f} times the images of the smallest; "
            "--set loss.balance=true weighs them equally"
        )


def why_from_scratch(recipe: Recipe) -> str:
    """Return why no weights are loaded, and what to do where they could be."""
    if not describe(recipe.model).weights:
        return "no weights of it are published"
    if weights_at_hand(recipe.model):
        return f"that is what the recipe {recipe.name} does; --weights default starts from the published weights"
    return (
        "its published weights are not on this machine and no hub can be reached; put them in the folder that "
        "NEOCOG_WEIGHTS names, or give --weights"
    )


def fingerprint(split: Split) -> str:
    """Return a digest of a split's images and labels, by which a resumed run knows its data again."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(split.targets().numpy().tobytes())
    for index in range(0, len(split), max(1, len(split) // 1000)):
        digest.update(Path(split.source(index)).name.encode())
    return digest.hexdigest()
