"""From a source and a recipe to a plan: every choice made, nothing left "auto"."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from neocog.data.memory import belongs_in_memory
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import divide, read_source
from neocog.data.table import Split, Splits
from neocog.errors import TrainingError, UsageError
from neocog.jobs._cache import choose_cache
from neocog.jobs._checks import check_growth, check_network, say_choices
from neocog.jobs._device import choose_device
from neocog.jobs._preprocessing import choose_preprocessing, own_card, sizes_seen
from neocog.jobs._resolve import (
    for_labels,
    for_model,
    gather_facts,
    model_has_small_stem,
    resolve,
    resolve_stages,
    with_auxiliary_heads,
)
from neocog.jobs.listener import Listener
from neocog.recipes import Facts, Recipe
from neocog.train.distributed import once, said_by_all


class Plan(BaseModel):
    """What a run is built from, as run.json keeps it: resuming reads this and chooses nothing again.

    `in_memory` is among it because whether the images fit depends on the machine, and a crop of an image in memory
    differs by a rounding from the crop of a file. So is `cache`, for the same reason: the shorter side at which
    photographs are kept decoded on disk, or None where each is read from its file.
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
    cache: int | None = None

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
    """Return the images and the plan of a run in one stage; the arguments are those of `plan_stages`."""
    splits, plans = plan_stages(
        source,
        data_dir=data_dir,
        model=model,
        recipe=recipe,
        weights=weights,
        overrides=overrides,
        device=device,
        listener=listener,
    )
    if len(plans) > 1:
        raise UsageError(f"the recipe {plans[0].recipe.name} trains in {len(plans)} stages; this takes one of a single")
    return splits, plans[0]


def plan_stages(
    source: str | Path,
    *,
    data_dir: str | Path | None,
    model: str | None,
    recipe: str | Recipe | Sequence[Recipe],
    weights: str | None,
    overrides: Mapping[str, Any],
    device: str | None,
    listener: Listener,
) -> tuple[Splits, tuple[Plan, ...]]:
    """Load the images, resolve every choice of each stage, and say the choices that a person may want to know.

    How many images are held out is the recipe's to say, and the recipe may depend on how many are left. So it is
    asked twice: of all images how many to hold out, and of those that are left everything else. All stages hold out
    what the first says, lest one is measured on images that another was trained on. Stages after the first begin with
    the weights of the one before, and so with its preprocessing; their plans name no weights yet.
    """
    device, overrides = choose_device(device), dict(overrides)
    if isinstance(overrides.get("model"), str):  # the recipe must know whom it is for
        model = overrides.pop("model")
    tables = read_source(source, data_dir=data_dir)
    asked = {name: value for name, value in overrides.items() if name in ("validation", "seed")}
    first = resolve_stages(recipe, gather_facts(tables.training, model, device))[0].override(asked)
    splits = divide(tables, validation=first.validation, seed=first.seed)
    facts = gather_facts(splits.train, model, device)
    stages = resolve_stages(recipe, facts)
    if len(stages) > 1 and model is not None:
        names = ", then ".join(stage.model for stage in stages)
        raise UsageError(f"the recipe {stages[0].name} trains its own networks in stages, {names}; leave out --model")
    plans: list[Plan] = []
    for stage in stages:
        held = stage.model_copy(update={"validation": first.validation, "seed": first.seed})
        if not plans:
            chosen = choose(held, facts, model, weights, overrides, listener)
            preprocessing = choose_preprocessing(chosen, splits, facts)
        else:
            listener = Listener()  # what is to be said of one stage was said of the first
            begun = {**overrides, "weights": plans[0].recipe.weights}
            chosen = choose(held, facts, None, None, begun, listener).model_copy(update={"weights": None})
            preprocessing = plans[0].preprocessing
            if chosen.image_size is not None:
                preprocessing = preprocessing.model_copy(update={"size": (chosen.image_size, chosen.image_size)})
            check_growth(plans[-1].recipe, chosen, len(splits.classes), preprocessing.channels)
        network = check_network(chosen, preprocessing, len(splits.classes))
        say_choices(chosen, network, facts, listener)
        largest = preprocessing.model_copy(update={"size": max(sizes_seen(chosen, preprocessing))})
        in_memory = belongs_in_memory(splits.train, largest.size)
        cache = None if in_memory else choose_cache(chosen, splits.train, largest, listener)
        settled: dict[str, Any] = {"cache": cache is not None} | ({"workers": 0} if in_memory else {})
        plans.append(
            Plan(
                source=str(source),
                data_dir=None if data_dir is None else str(data_dir),
                device=device,
                recipe=chosen.model_copy(update=settled),
                preprocessing=preprocessing,
                classes=splits.classes,
                multi_label=splits.multi_label,
                in_chans=preprocessing.channels,
                in_memory=in_memory,
                fingerprint=fingerprint(splits.train),
                cache=cache,
            )
        )
    return splits, tuple(plans)


def agree(plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """Return the main process's plans, to be carried out on this process's device; alone, `plans` as they are.

    What "auto" became depends on the machine: on its free disk and memory, its cores, what its GPU can. Processes on
    several machines must train as one, and as the run's file says, from which they would be resumed.

    Raises:
        TrainingError: they found training images with different names or labels; every process raises it.
    """
    if len(set(said_by_all(plans[0].fingerprint))) > 1:
        raise TrainingError(
            f"processes found different training images in {plans[0].source}; give every machine the same ones"
        )
    agreed = once(lambda: plans)
    return tuple(plan.model_copy(update={"device": plans[0].device}) for plan in agreed)


def choose(
    recipe: Recipe,
    facts: Facts,
    model: str | None,
    weights: str | None,
    overrides: Mapping[str, Any],
    listener: Listener,
) -> Recipe:
    """Return `recipe` as it shall be run: for this network, from these weights, with these fields."""
    chosen = recipe if model is None else for_model(recipe, model, listener)
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
    return with_auxiliary_heads(resolve(for_labels(chosen, facts, listener), facts))


def fingerprint(split: Split) -> str:
    """Return a digest of a split's images and labels, by which a resumed run knows its data again."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(split.targets().numpy().tobytes())
    for index in range(0, len(split), max(1, len(split) // 1000)):
        digest.update(Path(split.source(index)).name.encode())
    return digest.hexdigest()
