"""What is refused before a run is begun, and what is said about it."""

from __future__ import annotations

import torch

from neocog.catalog import describe, weights_at_hand
from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError
from neocog.inference.evaluation import check_views
from neocog.jobs._preprocessing import look_of, sizes_seen
from neocog.jobs.listener import Listener
from neocog.models import Classifier, create_model, tap
from neocog.recipes import Facts, Recipe
from neocog.train.depth import parts_by_depth
from neocog.train.self_organising import check_self_organising
from neocog.train.supervised import parts_held_back, stem_that_moves
from neocog.train.whitening import freeze_whitened


def check_network(recipe: Recipe, preprocessing: Preprocessing, classes: int) -> Classifier:
    """Raise what building or feeding the network would, before a run is begun; return one that takes no memory."""
    with torch.device("meta"):
        network = create_model(recipe.model, num_classes=classes, in_chans=preprocessing.channels, **recipe.edits)
        for size in sizes_seen(recipe, preprocessing):
            network.check_input(torch.empty(1, preprocessing.channels, *size))
        check_sizes_varied(recipe, preprocessing)
        check_views(network, preprocessing, recipe.views)
        if recipe.organise:
            check_self_organising(network)
        if recipe.whiten:
            freeze_whitened(network)
        if recipe.stem_epochs is not None:
            stem_that_moves(network)
        if heads := network.auxiliary_heads:
            for size in sizes_seen(recipe, preprocessing):
                with tap(network.eval(), list(heads)) as seen:
                    network(torch.empty(1, preprocessing.channels, *size))
                for stage, head in heads.items():
                    head(seen[stage])
    return network


def check_sizes_varied(recipe: Recipe, preprocessing: Preprocessing) -> None:
    """Raise `UsageError` where the training images of some epoch would be too small to be varied as the recipe says."""
    starts = {epoch for pairs in recipe.vary.values() for epoch, _ in pairs if epoch < recipe.epochs} | {0}
    for epoch in sorted(starts):
        look, _ = look_of(recipe, preprocessing, epoch)
        look.augmentation.check_size(look.preprocessing.size)


def say_choices(recipe: Recipe, network: Classifier, facts: Facts, listener: Listener) -> None:
    """Tell the person about choices with consequences; `network` is the recipe's, on any device."""
    if recipe.compile and recipe.loss.auxiliary_weight > 0:
        listener.notice("compile=true has no effect with auxiliary losses, for which hidden layers are read")
    elif recipe.compile and (recipe.train == "head" or recipe.organise):
        only_head = "train=head" if recipe.train == "head" else f"organise={recipe.organise}"
        listener.notice(f"compile=true has no effect with {only_head}, for which the network is run in two halves")
    if recipe.unfreeze and (never := parts_never_moved(recipe, network, facts.images)):
        parts = len(parts_by_depth(network))
        listener.notice(
            f"{never} of the {parts} parts of the network never {'move' if never > 1 else 'moves'}: "
            f"unfreeze={recipe.unfreeze:g} would take {recipe.unfreeze * (parts - 1):.3g} epochs to release all, and "
            f"the run has {recipe.epochs}; --set unfreeze={recipe.epochs / 2 / (parts - 1):.2g} does so in half of them"
        )
    if not facts.small and recipe.weights is None:
        listener.notice(f"training {recipe.model} from scratch, which needs many images: {why_from_scratch(recipe)}")
    if facts.imbalance >= 3 and not recipe.loss.balance:
        listener.notice(
            f"the classes are unbalanced: the largest has {facts.imbalance:.1f} times the images of the smallest; "
            "--set loss.balance=true weighs them equally"
        )


def parts_never_moved(recipe: Recipe, network: Classifier, images: int) -> int:
    """Return how many parts of `network`, counted from the stem, `unfreeze` does not release by the last step."""
    steps = max(images // recipe.batch_size, 1)
    return parts_held_back(len(parts_by_depth(network)), recipe.unfreeze, recipe.epochs - 1 / steps + 1e-9)


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
    if describe(smaller.model).family != describe(larger.model).family:
        raise UsageError(f"a {smaller.model} does not grow into a {larger.model}, which is of another family")
    with torch.device("meta"):
        before, after = (
            create_model(each.model, num_classes=classes, in_chans=channels, **each.edits) for each in (smaller, larger)
        )
    if smaller.model != larger.model:
        after.layers_from(before)
        return
    had, wanted = _shapes(before), _shapes(after)
    if others := sorted(name for name in had.keys() | wanted.keys() if had.get(name) != wanted.get(name)):
        name = others[0]
        raise UsageError(
            f"a stage cannot begin with the {smaller.model} of the one before, which has other edits: {name} is "
            f"{had.get(name, 'absent')} there and {wanted.get(name, 'absent')} here"
            + (f", and {len(others) - 1} more differ" if len(others) > 1 else "")
            + "; give both stages edits of the same shapes"
        )


def _shapes(network: Classifier) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that is loaded; auxiliary heads are left out or made anew where they differ."""
    heads = tuple(f"{name}." for name in network.auxiliary_names.values())
    return {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not (heads and name.startswith(heads))
    }
