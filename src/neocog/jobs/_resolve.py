"""From a recipe's name to a recipe with nothing left "auto"."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import torch

from neocog._machine import available_cores
from neocog.catalog import describe, weights_at_hand
from neocog.data.table import SMALL_SIDE, Split
from neocog.errors import UsageError
from neocog.jobs._preprocessing import PHOTOGRAPH_SIZE
from neocog.jobs.listener import Listener
from neocog.models._family import Family
from neocog.recipes import Facts, Recipe, build_stages
from neocog.train.precision import computes_in_bf16

SMALL_STEP = 200_000_000  # multiply-adds of a batch: LeNet-5 stays below, ResNet-20 is far above


def resolve_stages(recipe: str | Recipe | Sequence[Recipe], facts: Facts) -> tuple[Recipe, ...]:
    """Return the runs of the recipe of that name for `facts`, as a rule one; what is given whole stays as it is."""
    if isinstance(recipe, str):
        return build_stages(recipe, facts)
    stages = (recipe,) if isinstance(recipe, Recipe) else tuple(recipe)
    if not stages:
        raise UsageError("a sequence of recipes must hold at least one")
    return stages


def for_model(recipe: Recipe, model: str, listener: Listener) -> Recipe:
    """Return `recipe` for another network than its own: without those edits of its own that the other does not know."""
    if model == recipe.model:
        return recipe
    known = {field.name for field in fields(Family.of(model).config)}
    dropped = [name for name in recipe.edits if name not in known]
    if dropped:
        listener.notice(f"{model} has no {' or '.join(dropped)}, which the recipe {recipe.name} sets; it goes without")
    kept = {name: value for name, value in recipe.edits.items() if name in known}
    return recipe.model_copy(update={"model": model, "edits": kept})


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
    check_combination(recipe)
    if recipe.image_size is None and "image_size" in recipe.vary:
        changes["image_size"] = recipe.at(recipe.epochs - 1).image_size
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
        if recipe.repeats > changes["batch_size"]:
            raise UsageError(
                f"{facts.images} training images make batches of {changes['batch_size']}, which cannot hold an image "
                f"{recipe.repeats} times; set repeats to at most {changes['batch_size']}"
            )
    return recipe.model_copy(update=changes)


def for_labels(recipe: Recipe, facts: Facts, listener: Listener) -> Recipe:
    """Return `recipe` with a loss that knows several labels an image, where the images have them."""
    if not facts.multi_label or recipe.loss.name != "cross_entropy":
        return recipe
    if recipe.loss.rubbish is not None:
        listener.notice(
            "the images have several labels: the loss is binary cross entropy, which has no rubbish class, and "
            f"loss.rubbish={recipe.loss.rubbish:g} is left out"
        )
    loss = recipe.loss.model_copy(update={"name": "binary_cross_entropy", "rubbish": None})
    return recipe.model_copy(update={"loss": loss})


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
    steps = recipe.epochs * max(1, images // recipe.batch_size)
    if recipe.average.name == "lookahead" and recipe.average.active and recipe.average.interval > steps:
        raise UsageError(
            f"average.interval={recipe.average.interval} is more than the {steps} steps of the run, after which the "
            "slow weights would be those of the start: lower it"
        )
    if recipe.threads != "auto" and recipe.threads < 1:
        raise UsageError(f"threads must be at least 1, not {recipe.threads}")
    if recipe.workers != "auto" and recipe.workers < 0:
        raise UsageError(f"workers must be at least 0, not {recipe.workers}")


def check_beginning(recipe: Recipe) -> None:
    """Refuse ways in which a fresh network shall begin, or its stem end, that something else contradicts."""
    for field, value in (("whiten", recipe.whiten), ("identity", recipe.identity)):
        if value and recipe.weights is not None:
            raise UsageError(
                f"{field} is how a fresh network begins, and this one has the weights {recipe.weights}: "
                f"set {field} to {type(value)()}, or weights to none".replace("False", "false")
            )
        if value and recipe.organise:
            raise UsageError(f"a network that organises itself begins so: set {field} or organise to its default")
    if recipe.stem_epochs is not None and recipe.unfreeze:
        raise UsageError(
            f"unfreeze={recipe.unfreeze:g} releases the stem last of all, and stem_epochs={recipe.stem_epochs:g} stops "
            "it: choose one"
        )


def check_combination(recipe: Recipe) -> None:
    """Refuse fields of which one would make the other mean nothing."""
    only_head = "train=head" if recipe.train == "head" else f"organise={recipe.organise}" if recipe.organise else ""
    if only_head and recipe.unfreeze:
        raise UsageError(f"{only_head} trains the head alone, and unfreeze={recipe.unfreeze:g} all; choose one")
    if only_head and recipe.clip_adaptive is not None:
        raise UsageError(f"{only_head} trains the head alone, which clip_adaptive spares; use clip_norm")
    if only_head and recipe.optimizer.name == "muon":
        raise UsageError(
            f"{only_head} trains the head alone, which muon leaves to SGD: set optimizer.name to sgd, and "
            "optimizer.lr to its rate"
        )
    if only_head and recipe.optimizer.layer_decay < 1:
        raise UsageError(
            f"{only_head} trains the head alone, and optimizer.layer_decay={recipe.optimizer.layer_decay:g} is for the "
            "layers below it: set it back to 1"
        )
    if only_head and recipe.stem_epochs is not None:
        raise UsageError(
            f"{only_head} trains the head alone, and stem_epochs={recipe.stem_epochs:g} is for the stem: set it to none"
        )
    check_beginning(recipe)
    if recipe.focus.share and recipe.focus.start >= recipe.epochs:
        raise UsageError(
            f"focus.start={recipe.focus.start} is past the run's last epoch, {recipe.epochs - 1} (counted from 0), and "
            "no image would be left out: lower it, or set focus.share to 0"
        )
    if recipe.unfreeze >= recipe.epochs:
        raise UsageError(
            f"unfreeze={recipe.unfreeze:g} releases nothing within the run's epochs, {recipe.epochs}, and only the "
            "head would ever move: lower it, or say so with train=head and unfreeze=0"
        )
