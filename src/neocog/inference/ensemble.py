"""Several networks as one: the mean of what they say, or of what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from neocog.errors import UsageError
from neocog.inference.model_file import Card, load_model, save_model
from neocog.inference.views import mean_of_posteriors

Mean = Literal["logits", "probabilities"]


def combine(logits: Sequence[Tensor], mean: Mean = "logits", multi_label: bool = False) -> Tensor:
    """Return the logits `(N, K)` of an ensemble from those of its members, each `(N, K)`.

    Args:
        logits: of each member, for the same images and classes.
        mean: "logits" averages them, which is the geometric mean of the posteriors (Hinton et al. 2015, section 5);
            "probabilities" averages the posteriors themselves (Krizhevsky et al. 2012, section 6).
        multi_label: whether an image may have several classes.

    Raises:
        UsageError: members of different shape, or none.
    """
    if not logits or any(each.shape != logits[0].shape for each in logits):
        raise UsageError(f"an ensemble averages logits of one shape, not {[tuple(each.shape) for each in logits]}")
    if mean == "probabilities":
        return mean_of_posteriors(logits, multi_label)
    total = logits[0].double()
    for each in logits[1:]:
        total = total + each
    return (total / len(logits)).to(logits[0].dtype)


def average_model_files(paths: Sequence[str | Path], out: str | Path) -> Card:
    """Write the network whose weights are the mean of those of several model files: a uniform model soup.

    That is for files that were fine-tuned from the same weights (Wortsman et al. 2022, section 2), or for checkpoints
    of one run; the mean of networks that were trained from different starts knows nothing. Running statistics of batch
    norm are averaged as weights are, and counts are the first file's. Measure it again: the new file holds no metrics
    and no recipe.

    Args:
        paths: model files of the same network, classes and preprocessing.
        out: the file to write.

    Returns:
        The new file's card.

    Raises:
        WeightsError: one of them cannot be read.
        UsageError: fewer than two files, or one differs from the first in more than its weights.
        StorageError: the place cannot be written.
    """
    if len(paths) < 2:
        raise UsageError(f"an average is of two model files or more, not of {len(paths)}")
    first = load_model(paths[0])
    state = first.network.state_dict()
    sums = {name: tensor.double() for name, tensor in state.items() if tensor.is_floating_point()}
    for path in paths[1:]:
        other = load_model(path)
        for name in ("model", "edits", "classes", "multi_label", "preprocessing"):
            mine, its = getattr(first.card, name), getattr(other.card, name)
            if mine != its:
                raise UsageError(f"{path} cannot be averaged with {paths[0]}: its {name} is {its}, not {mine}")
        for name, tensor in other.network.state_dict().items():
            if name in sums:
                sums[name] += tensor
    mean = {name: (total / len(paths)).to(state[name].dtype) for name, total in sums.items()}
    first.network.load_state_dict({**state, **mean}, assign=True)
    card = Card.model_validate(first.card.model_dump(exclude={"format", "neocog", "recipe", "metrics", "created"}))
    save_model(out, first.network, card)
    return card
