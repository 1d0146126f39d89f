"""What is refused before a run is begun, and what is said about it."""

from __future__ import annotations

import torch

from neocog.catalog import describe, weights_at_hand
from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError
from neocog.inference.evaluation import check_views
from neocog.jobs._preprocessing import sizes_seen
from neocog.jobs.listener import Listener
from neocog.models import create_model, tap
from neocog.recipes import Facts, Recipe
from neocog.train.self_organising import check_self_organising


def check_network(recipe: Recipe, preprocessing: Preprocessing, classes: int) -> None:
    """Raise what building or feeding the network would, before a run is begun; it costs no memory."""
    with torch.device("meta"):
        network = create_model(recipe.model, num_classes=classes, in_chans=preprocessing.channels, **recipe.edits)
        for size in sizes_seen(recipe, preprocessing):
            network.check_input(torch.empty(1, preprocessing.channels, *size))
        check_views(network, preprocessing, recipe.views)
        if recipe.organise:
            check_self_organising(network)
        if heads := network.auxiliary_heads:
            for size in sizes_seen(recipe, preprocessing):
                with tap(network.eval(), list(heads)) as seen:
                    network(torch.empty(1, preprocessing.channels, *size))
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


def check_growth(smaller: Recipe, larger: Recipe, classes: int, channels: int) -> None:
    """Raise `UsageError` where the network of one stage cannot begin with layers of that of the stage before."""
    if smaller.model == larger.model:
        return
    if describe(smaller.model).family != describe(larger.model).family:
        raise UsageError(f"a {smaller.model} does not grow into a {larger.model}, which is of another family")
    with torch.device("meta"):
        before, after = (
            create_model(each.model, num_classes=classes, in_chans=channels, **each.edits) for each in (smaller, larger)
        )
    after.layers_from(before)
